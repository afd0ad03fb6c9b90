package weir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
)

const kept = `---
kind: Policy
name: kept
tenant: acme
outputs: {mode: redacted, sample: 100%, keep: 48h}
`

// said makes a call as somebody and returns its request id.
func (h *house) said(who, model, prompt string) string {
	h.t.Helper()
	a, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as(who), ask(model, prompt))
	if err != nil {
		h.t.Fatal(err)
	}
	return a.RequestId
}

// export gathers what ExportOutputs streams.
func (h *house) export(ctx context.Context, req *weirv1.ExportOutputsRequest) (list []*weirv1.Output, err error) {
	stream, err := weirv1.NewEvaluationServiceClient(h.conn).ExportOutputs(ctx, req)
	if err != nil {
		return nil, err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		list = append(list, answer.Output)
	}
}

func TestAnOutputTellsWhatWasSaidAndRated(t *testing.T) {
	h := newHouse(t, kept)
	client := weirv1.NewEvaluationServiceClient(h.conn)
	a, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as("member"), ask("sim", "say: noted, ada@example.org, 你好"))
	if err != nil {
		t.Fatal(err)
	}
	name := "tenants/acme/outputs/" + a.RequestId
	rated, err := client.CreateRating(h.as("member"), &weirv1.CreateRatingRequest{
		Parent: "tenants/-/outputs/" + a.RequestId, RatingId: "r1",
		Rating: &weirv1.Rating{Thumb: weirv1.Thumb_THUMB_UP, Score: proto.Float64(0), Grade: proto.Int64(4), Comment: "ask ada@example.org", CorrectedOutput: "您好", Rater: "eve"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := rated.Rating
	if r.Name != name+"/ratings/r1" || r.Thumb != weirv1.Thumb_THUMB_UP || r.Score == nil || *r.Score != 0 || r.GetGrade() != 4 || r.Comment != "ask [EMAIL]" ||
		r.CorrectedOutput != "您好" || r.Rater != "eve" || r.Key != "default/member" || r.CreateTime == nil {
		t.Errorf("rating %v", r)
	}
	if _, err := client.CreateRating(h.as("platform"), &weirv1.CreateRatingRequest{Parent: name, Rating: &weirv1.Rating{Score: proto.Float64(1)}}); err != nil {
		t.Fatal(err)
	}
	got, err := client.GetOutput(h.as("admin"), &weirv1.GetOutputRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	o := got.Output
	if o.Name != name || o.RequestId != a.RequestId || o.Project != "default" || o.Key != "member" || o.Model != "sim" || o.Backend != "b0" ||
		o.FinishReason != weirv1.FinishReason_FINISH_REASON_STOP || o.ErrorReason != 0 || !proto.Equal(o.Usage, a.Usage) || !proto.Equal(o.Cost, a.Cost) ||
		len(o.Verdicts) != len(a.Verdicts) || !proto.Equal(o.Verdicts[0], a.Verdicts[0]) || o.Mode != weirv1.OutputMode_OUTPUT_MODE_REDACTED || o.Probability != 1 ||
		o.ExpireTime.AsTime().Sub(o.StartTime.AsTime()) != 48*time.Hour || len(o.Ratings) != 2 || !proto.Equal(o.Ratings[0], r) || o.Ratings[1].Key != "platform" {
		t.Errorf("output %v\nof answer %v", o, a)
	}
	want := &weirv1.OutputContent{
		Messages:   []*weirv1.Message{say(weirv1.Role_ROLE_USER, "say: noted, [EMAIL], 你好")},
		Candidates: []*weirv1.Candidate{{FinishReason: weirv1.FinishReason_FINISH_REASON_STOP, Message: say(weirv1.Role_ROLE_ASSISTANT, "noted, [EMAIL], 你好")}},
	}
	if !proto.Equal(o.Content, want) {
		t.Errorf("content %v", o.Content)
	}
	// A mode that keeps nothing of it leaves it out.
	h.Apply(strings.Replace(kept[4:], "redacted", "metadata", 1))
	got, err = client.GetOutput(h.as("admin"), &weirv1.GetOutputRequest{Name: "tenants/-/outputs/" + h.said("member", "sim", "say: hi")})
	if err != nil || got.Output.Content != nil || got.Output.Usage == nil {
		t.Errorf("%v %v", got, err)
	}
}

func TestOutputsArePagedAndFiltered(t *testing.T) {
	h := newHouse(t, kept)
	client := weirv1.NewEvaluationServiceClient(h.conn)
	var ids []string // newest first
	for _, c := range [][2]string{{"sim", "say: one"}, {"sim", "say: noted"}, {"cached", "say: three"}, {"sim", "say: a zorblatt"}, {"sim", "say: five"}} {
		ids = append([]string{h.said("member", c[0], c[1])}, ids...)
	}
	h.key("neighbour", "other", auth.Member)
	h.said("neighbour", "sim", "say: theirs")
	list := func(req *weirv1.ListOutputsRequest) (got []string) {
		for {
			page, err := client.ListOutputs(h.as("member"), req)
			if err != nil {
				t.Fatal(err)
			}
			if size := int(req.PageSize); size > 0 && len(page.Outputs) > size {
				t.Errorf("a page of %d; the size is %d", len(page.Outputs), size)
			}
			for _, o := range page.Outputs {
				got = append(got, o.RequestId)
			}
			if req.PageToken = page.NextPageToken; req.PageToken == "" {
				return got
			}
		}
	}
	for _, size := range []int32{0, 1, 2, 5} {
		if got := list(&weirv1.ListOutputsRequest{Parent: "tenants/acme", PageSize: size}); !slices.Equal(got, ids) {
			t.Errorf("pages of %d: %q; want %q", size, got, ids)
		}
	}
	all, err := h.export(h.as("member"), &weirv1.ExportOutputsRequest{Parent: "tenants/-"})
	if err != nil || len(all) != 5 || all[4].RequestId != ids[4] {
		t.Fatalf("%v %v", all, err)
	}
	for _, c := range []struct {
		filter *weirv1.OutputFilter
		want   []string
	}{
		{&weirv1.OutputFilter{Model: "cached"}, ids[2:3]},
		{&weirv1.OutputFilter{Project: "default"}, ids},
		{&weirv1.OutputFilter{Project: "none"}, nil},
		{&weirv1.OutputFilter{FinishReason: weirv1.FinishReason_FINISH_REASON_SAFETY}, ids[1:2]},
		{&weirv1.OutputFilter{HasVerdict: proto.Bool(true)}, []string{ids[1], ids[3]}},
		{&weirv1.OutputFilter{HasVerdict: proto.Bool(false)}, []string{ids[0], ids[2], ids[4]}},
		{&weirv1.OutputFilter{StartTime: all[2].StartTime}, ids[:3]},
		{&weirv1.OutputFilter{EndTime: all[2].StartTime}, ids[3:]},
	} {
		if got := list(&weirv1.ListOutputsRequest{Parent: "tenants/acme", PageSize: 1, Filter: c.filter}); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q; want %q", c.filter, got, c.want)
		}
		some, err := h.export(h.as("platform"), &weirv1.ExportOutputsRequest{Parent: "tenants/acme", Filter: c.filter})
		if err != nil || len(some) != len(c.want) {
			t.Errorf("export of %v: %v %v", c.filter, some, err)
		}
	}
	first, err := client.ListOutputs(h.as("member"), &weirv1.ListOutputsRequest{Parent: "tenants/acme", PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	const foreign = "InvalidArgument INVALID_REQUEST page_token="
	for _, bad := range []*weirv1.ListOutputsRequest{
		{Parent: "tenants/acme", PageToken: "?"}, {Parent: "tenants/acme", PageToken: "e30"},
		{Parent: "tenants/other", PageToken: first.NextPageToken},
		{Parent: "tenants/acme", PageToken: first.NextPageToken, Filter: &weirv1.OutputFilter{Model: "sim"}},
	} {
		if _, err := client.ListOutputs(h.as("platform"), bad); failure(err) != foreign {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestWhoMaySeeAndRateOutputs(t *testing.T) {
	h := newHouse(t, kept)
	h.key("neighbour", "other", auth.Admin)
	h.key("viewer", "acme", auth.Viewer)
	h.key("billing", "acme", auth.Billing)
	client := weirv1.NewEvaluationServiceClient(h.conn)
	ours, theirs := h.said("member", "sim", "say: ours"), h.said("neighbour", "sim", "say: theirs")
	const none, nobody, denied = "NotFound RESOURCE_NOT_FOUND", "Unauthenticated CREDENTIALS_INVALID", "PermissionDenied PERMISSION_DENIED"
	for _, c := range []struct{ who, tenant, id, list, one string }{
		{"viewer", "acme", ours, "OK", "OK"},
		{"viewer", "-", theirs, "OK", none},
		{"billing", "acme", ours, denied, denied},
		{"billing", "-", ours, denied, denied},
		{"billing", "other", theirs, none, none},
		{"platform", "acme", ours, "OK", "OK"},
		{"platform", "acme", theirs, "OK", none}, // it is not that tenant's
		{"platform", "none", ours, none, none},
		{"platform", "-", ours, "InvalidArgument INVALID_REQUEST parent=", "InvalidArgument INVALID_REQUEST"},
		{"admin", "acme", ours, "OK", "OK"},
		{"member", "acme", ours, "OK", "OK"},
		{"member", "-", ours, "OK", "OK"},
		{"member", "-", theirs, "OK", none},
		{"member", "acme", theirs, "OK", none},
		{"member", "other", theirs, none, none},
		{"neighbour", "acme", ours, none, none},
		{"neighbour", "-", ours, "OK", none},
		{"neighbour", "none", ours, none, none},
		{"nobody", "acme", ours, nobody, nobody},
	} {
		parent := "tenants/" + c.tenant
		name := parent + "/outputs/" + c.id
		_, listed := client.ListOutputs(h.as(c.who), &weirv1.ListOutputsRequest{Parent: parent})
		_, exported := h.export(h.as(c.who), &weirv1.ExportOutputsRequest{Parent: parent})
		_, got := client.GetOutput(h.as(c.who), &weirv1.GetOutputRequest{Name: name})
		_, rated := client.CreateRating(h.as(c.who), &weirv1.CreateRatingRequest{Parent: name, Rating: &weirv1.Rating{Thumb: weirv1.Thumb_THUMB_DOWN}})
		if failure(listed) != c.list || failure(exported) != c.list {
			t.Errorf("%s lists those of %s: %v; exports: %v", c.who, c.tenant, listed, exported)
		}
		rates := c.one
		if c.who == "viewer" {
			rates = denied // it changes nothing
		}
		if got, rated := strings.TrimSuffix(failure(got), " name="), strings.TrimSuffix(failure(rated), " parent="); got != c.one || rated != rates {
			t.Errorf("%s gets %s: %s; rates: %s", c.who, name, got, rated)
		}
	}
	// What is another tenant's is told apart from nothing by nobody.
	_, a := client.GetOutput(h.as("admin"), &weirv1.GetOutputRequest{Name: "tenants/other/outputs/" + theirs})
	_, b := client.GetOutput(h.as("admin"), &weirv1.GetOutputRequest{Name: "tenants/other/outputs/x"})
	if one, other := status.Convert(a).Message(), status.Convert(b).Message(); strings.ReplaceAll(one, theirs, "x") != other {
		t.Errorf("%q and %q", one, other)
	}
	all, err := h.export(h.as("neighbour"), &weirv1.ExportOutputsRequest{Parent: "tenants/-"})
	if err != nil || len(all) != 1 || all[0].RequestId != theirs || len(all[0].Ratings) != 0 {
		t.Errorf("%v %v", all, err)
	}
}

func TestRequestsForOutputsThatMakeNoSense(t *testing.T) {
	h := newHouse(t, kept)
	client := weirv1.NewEvaluationServiceClient(h.conn)
	id := h.said("member", "sim", "say: hi")
	name := "tenants/acme/outputs/" + id
	up := &weirv1.Rating{Thumb: weirv1.Thumb_THUMB_UP}
	now := timestamppb.Now()
	rate := func(parent, id string, r *weirv1.Rating) error {
		_, err := client.CreateRating(h.as("member"), &weirv1.CreateRatingRequest{Parent: parent, RatingId: id, Rating: r})
		return err
	}
	list := func(req *weirv1.ListOutputsRequest) error {
		_, err := client.ListOutputs(h.as("member"), req)
		return err
	}
	get := func(name string) error {
		_, err := client.GetOutput(h.as("member"), &weirv1.GetOutputRequest{Name: name})
		return err
	}
	_, exported := h.export(h.as("member"), &weirv1.ExportOutputsRequest{Parent: "acme"})
	const bad = "InvalidArgument INVALID_REQUEST "
	for i, c := range []struct {
		err  error
		want string
	}{
		{rate(name, "once", up), "OK"},
		{rate(name, "once", up), "OK"},
		{rate(name, "once", &weirv1.Rating{Thumb: weirv1.Thumb_THUMB_DOWN}), "AlreadyExists RESOURCE_EXISTS"},
		{rate(name, "Upper", up), bad + "rating_id=RATING_ID"},
		{rate(name, "", nil), bad + "rating=REQUIRED"},
		{rate(name, "", &weirv1.Rating{Rater: "eve"}), bad + "rating=RATING_SOMETHING"},
		{rate(name, "", &weirv1.Rating{Score: proto.Float64(1.5)}), bad + "rating.score=DOUBLE_GTE_LTE"},
		{rate(name, "", &weirv1.Rating{Thumb: 7}), bad + "rating.thumb=ENUM_DEFINED_ONLY"},
		{rate(name, "", &weirv1.Rating{Comment: strings.Repeat("x", 5000)}), bad + "rating.comment=STRING_MAX_LEN"},
		{rate("acme/"+id, "", up), bad + "parent=RATING_PARENT"},
		{rate("tenants/acme/outputs/none", "", up), "NotFound RESOURCE_NOT_FOUND"},
		{get("acme"), bad + "name=OUTPUT_NAME"},
		{get("tenants/acme/outputs/none"), "NotFound RESOURCE_NOT_FOUND"},
		{list(&weirv1.ListOutputsRequest{Parent: "acme"}), bad + "parent=OUTPUTS_PARENT"},
		{list(&weirv1.ListOutputsRequest{Parent: "tenants/acme", PageSize: -1}), bad + "page_size=INT32_GTE"},
		{list(&weirv1.ListOutputsRequest{Parent: "tenants/acme", Filter: &weirv1.OutputFilter{StartTime: now, EndTime: now}}), bad + "filter=OUTPUT_FILTER_SPAN"},
		{list(&weirv1.ListOutputsRequest{Parent: "tenants/acme", Filter: &weirv1.OutputFilter{FinishReason: 99}}), bad + "filter.finish_reason=ENUM_DEFINED_ONLY"},
		{exported, bad + "parent=OUTPUTS_PARENT"},
	} {
		if failure(c.err) != c.want {
			t.Errorf("%d: %s; want %s (%v)", i, failure(c.err), c.want, c.err)
		}
	}
}

func TestOutputsOverREST(t *testing.T) {
	h := newHouse(t, kept)
	id := h.said("member", "sim", "say: hi")
	call := func(method, path, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequest(method, h.web.URL+"/weir/v1/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+h.secrets["member"])
		answer, err := h.web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var said map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, said
	}
	if code, got := call("POST", "tenants/-/outputs/"+id+"/ratings?rating_id=r1", `{"score": 1, "comment": "gut"}`); code != 200 || !strings.Contains(fmt.Sprint(got), "/ratings/r1") {
		t.Errorf("%d %v", code, got)
	}
	if code, got := call("GET", "tenants/acme/outputs?filter.finish_reason=FINISH_REASON_STOP&page_size=1", ""); code != 200 || !strings.Contains(fmt.Sprint(got), id) || !strings.Contains(fmt.Sprint(got), "gut") {
		t.Errorf("%d %v", code, got)
	}
	if code, got := call("GET", "tenants/acme/outputs/"+id, ""); code != 200 || !strings.Contains(fmt.Sprint(got), "say: hi") {
		t.Errorf("%d %v", code, got)
	}
	if code, got := call("GET", "tenants/other/outputs/"+id, ""); code != 404 {
		t.Errorf("%d %v", code, got)
	}
}
