package weir

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/face"
)

func TestReadMasks(t *testing.T) {
	resource := (&weirv1.Output{}).ProtoReflect().Descriptor()
	whole := func() *weirv1.Output {
		return &weirv1.Output{
			Name: "n", Model: "m", Labels: map[string]string{"a": "b"},
			Usage: &weirv1.Usage{InputTokens: proto.Int64(1), OutputTokens: proto.Int64(2)},
			Cost:  &weirv1.Cost{Total: &weirv1.Money{CurrencyCode: "USD", Units: 1}, PriceVersion: "v"},
		}
	}
	usage := &weirv1.Output{Usage: &weirv1.Usage{InputTokens: proto.Int64(1)}}
	cost := &weirv1.Output{Cost: whole().Cost}
	for _, c := range []struct {
		paths []string
		want  *weirv1.Output // nil where the mask is refused
	}{
		{nil, whole()},
		{[]string{"*"}, whole()},
		{[]string{"usage.input_tokens"}, usage},
		{[]string{"cost.total", "cost"}, cost},
		{[]string{"cost", "cost.total.units"}, cost},
		{[]string{"cost.total.units", "cost.price_version"}, &weirv1.Output{Cost: &weirv1.Cost{Total: &weirv1.Money{Units: 1}, PriceVersion: "v"}}},
		{[]string{"labels", "model"}, &weirv1.Output{Model: "m", Labels: whole().Labels}},
		{[]string{"session"}, &weirv1.Output{}},
		{[]string{"labels.a"}, nil},
		{[]string{"ratings.score"}, nil},
		{[]string{"name.x"}, nil},
		{[]string{"*", "name"}, nil},
		{[]string{"usage."}, nil},
	} {
		fields, err := selected(&weirv1.GetOutputRequest{ReadMask: &fieldmaskpb.FieldMask{Paths: c.paths}}, resource)
		if err != nil || c.want == nil {
			var wrong *face.FieldsError
			if c.want != nil || !errors.As(err, &wrong) || wrong.Fields[0].Path != "read_mask" {
				t.Errorf("%q: %v", c.paths, err)
			}
			continue
		}
		got := &weirv1.GetOutputResponse{Output: whole()}
		list := &weirv1.ListOutputsResponse{Outputs: []*weirv1.Output{whole(), whole()}, NextPageToken: "t"}
		if err := fields.trim(got); err != nil {
			t.Fatal(err)
		}
		if err := fields.trim(list); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got.Output, c.want) || !proto.Equal(list.Outputs[1], c.want) || list.NextPageToken != "t" {
			t.Errorf("%q: %v and %v, want %v", c.paths, got, list, c.want)
		}
	}
}
