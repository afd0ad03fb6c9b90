package face

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/gateway"
)

// Details travel in one HTTP/2 header, and proxies cut those at 8 KiB. So what
// can be long is bounded here.
const (
	maxVerdicts    = 10
	maxFields      = 20
	maxDescription = 300
	maxMessage     = 1000
)

// PushbackTrailer tells gRPC clients when to try again, or with -1 not to.
const PushbackTrailer = "grpc-retry-pushback-ms"

// Pushback is the value of PushbackTrailer.
func (f Failure) Pushback() string {
	if !f.Retry {
		return "-1"
	}
	return strconv.FormatInt(f.RetryAfter.Milliseconds(), 10)
}

// Status is a failure as gRPC tells it, with the typed details of its case.
func (f Failure) Status(requestID string) *status.Status {
	st := status.New(f.Code, bounded(f.Message, maxMessage))
	about := map[string]string{"request_id": requestID}
	if f.Stage != "" {
		about["stage"] = f.Stage
	}
	if f.FirstRequestID != "" {
		about["first_request_id"] = f.FirstRequestID
	}
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.ErrorInfo{
		Reason: string(f.Reason), Domain: Domain, Metadata: about,
	})}
	for _, d := range f.details() {
		details = append(details, protoadapt.MessageV1Of(d))
	}
	full, err := st.WithDetails(details...)
	if err != nil { // only an OK has no details, and no row is one
		return st
	}
	return full
}

func (f Failure) details() (all []protoadapt.MessageV2) {
	if len(f.Fields) > 0 {
		all = append(all, f.badRequest())
	}
	switch f.Reason {
	case gateway.InputBlocked:
		all = append(all, f.blocked()...)
	case gateway.UnpricedModel:
		all = append(all, &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
			Type: "PRICE", Subject: f.Subject, Description: bounded(f.Message, maxDescription),
		}}})
	}
	switch f.Code {
	case codes.ResourceExhausted:
		all = append(all, &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{
			Subject: f.Subject, Description: bounded(f.Message, maxDescription),
		}}})
	case codes.NotFound, codes.AlreadyExists:
		all = append(all, &errdetails.ResourceInfo{
			ResourceType: f.Resource.Type, ResourceName: f.Resource.Name, Description: bounded(f.Message, maxDescription),
		})
	}
	if f.Retry {
		all = append(all, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	return all
}

func (f Failure) badRequest() *errdetails.BadRequest {
	bad := &errdetails.BadRequest{}
	for i, field := range f.Fields {
		if i == maxFields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Description: fmt.Sprintf("and %d more", len(f.Fields)-maxFields),
			})
			break
		}
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: bounded(field.Path, maxDescription), Description: bounded(field.Description, maxDescription), Reason: field.Rule,
		})
	}
	return bad
}

func (f Failure) blocked() []protoadapt.MessageV2 {
	violation := &weirv1.PolicyViolation{Stage: weirv1.Stage_STAGE_INPUT}
	for i, v := range f.Verdicts {
		if i == 0 {
			violation.Policy, violation.PolicyRevision = v.Policy, v.Revision
		}
		if i == maxVerdicts {
			break
		}
		violation.Verdicts = append(violation.Verdicts, Verdict(v))
	}
	return []protoadapt.MessageV2{
		&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
			Type: "CONTENT_POLICY", Subject: violation.Policy, Description: bounded(f.Message, maxDescription),
		}}},
		violation,
	}
}

// bounded cuts a text between runes.
func bounded(s string, most int) string {
	if len(s) <= most {
		return s
	}
	most -= len("…")
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
