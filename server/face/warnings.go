package face

import (
	"google.golang.org/protobuf/proto"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/gateway"
)

var warningCodes = map[gateway.WarningCode]weirv1.WarningCode{
	gateway.SchemaMismatch:   weirv1.WarningCode_WARNING_CODE_SCHEMA_MISMATCH,
	gateway.SchemaUnchecked:  weirv1.WarningCode_WARNING_CODE_SCHEMA_UNCHECKED,
	gateway.MediaUnseen:      weirv1.WarningCode_WARNING_CODE_MEDIA_UNSEEN,
	gateway.ParameterDropped: weirv1.WarningCode_WARNING_CODE_PARAMETER_DROPPED,
}

// Warnings are those of an answer as weir.v1 tells them.
func Warnings(a *gateway.Answer) []*weirv1.Warning {
	var out []*weirv1.Warning
	for _, w := range a.Warnings {
		told := &weirv1.Warning{Code: warningCodes[w.Code], Message: w.Message, Field: w.Field}
		if w.Candidate >= 0 {
			told.CandidateIndex = proto.Int32(int32(w.Candidate))
		}
		out = append(out, told)
	}
	return out
}
