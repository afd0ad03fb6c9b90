package face

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/gateway"
)

// A Failure is an error as a caller may see it.
type Failure struct {
	Reason gateway.Reason
	Row
	Message string
	// Fields are what is wrong with a request, in the words of weir.v1.
	Fields []Field
	// Subject is whose quota is exhausted, or what is not priced.
	Subject string
	// Resource is what is missing, or there already.
	Resource Resource
	// RetryAfter is set where Retry is.
	RetryAfter time.Duration
	// Stage is where the time went of a call whose deadline passed.
	Stage string
	// Rate is how a request rate stands that refused the call, else nil.
	Rate *gateway.Rate
	// FirstRequestID is the call that has the idempotency key, where another one is
	// why the call failed.
	FirstRequestID string
	// Verdicts are those that blocked the input.
	Verdicts []policy.Verdict
}

// A Field is one thing that is wrong with a request.
type Field struct {
	// Path is the field, as messages[0].parts; in a document its source and
	// its place in it.
	Path        string
	Description string
	// Rule names the rule that is broken, as STRING_MIN_LEN; empty where it
	// has no name.
	Rule string
}

// A Resource is something that has a name of its own.
type Resource struct{ Type, Name string }

// A FieldsError says that a request breaks rules.
type FieldsError struct{ Fields []Field }

func (e *FieldsError) Error() string {
	if len(e.Fields) == 0 {
		return "the request is not valid"
	}
	first := e.Fields[0].Description
	if path := e.Fields[0].Path; path != "" {
		first = path + ": " + first
	}
	if more := len(e.Fields) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more)", first, more)
	}
	return first
}

// Invalid is a FieldsError of one field.
func Invalid(path, format string, args ...any) error {
	return &FieldsError{[]Field{{Path: path, Description: fmt.Sprintf(format, args...)}}}
}

// A DeniedError says that a caller may not do something. Its text is for the
// caller.
type DeniedError struct{ Why string }

func (e *DeniedError) Error() string { return e.Why }

// A NotFoundError says that a resource is not there, or that the caller may
// not know that it is: both have the same text.
type NotFoundError struct{ Resource Resource }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no %s, or this key may not see it", e.Resource.Name)
}

// An ExistsError says that a name is taken.
type ExistsError struct {
	Resource Resource
	Err      error
}

func (e *ExistsError) Error() string { return fmt.Sprintf("%s: %v", e.Resource.Name, e.Err) }

func (e *ExistsError) Unwrap() error { return e.Err }

// An UnavailableError says that the store could not be asked. Err is for the
// log.
type UnavailableError struct {
	What string
	Err  error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s cannot be reached at the moment; try again", e.What)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// A ChangedError says that a resource is no longer what the caller has read.
type ChangedError struct{ Resource Resource }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s has changed since its etag was read: read it again, and send the etag that it has now", e.Resource.Name)
}

// A StateError says that a resource is in a state that does not allow what the
// caller asks. Its text is for the caller.
type StateError struct{ Why string }

func (e *StateError) Error() string { return e.Why }

// A StalledError says that a call was ended since its reader took nothing of
// what was written for it.
type StalledError struct{ After time.Duration }

func (e *StalledError) Error() string {
	return fmt.Sprintf("the answer was not read for %s, so the call was ended; what was generated is charged", e.After)
}

// defaultRetry is told where a retry makes sense and nobody said when.
const defaultRetry = time.Second

// Explain finds the row of an error. What it does not know is Internal, and
// the caller is told the id of the request alone.
func Explain(err error, requestID string) Failure {
	f := recognise(err)
	row, listed := table[f.Reason]
	if !listed {
		f.Reason, row = Internal, table[Internal]
	}
	f.Row = row
	if f.Reason == Internal {
		f = Failure{Reason: Internal, Row: row, Message: "internal error: give the request id " + requestID + " to your operator"}
	}
	switch {
	case !row.Retry:
		f.RetryAfter = 0
	case f.RetryAfter <= 0:
		f.RetryAfter = defaultRetry
	default: // up, since who comes a part of a millisecond too soon is refused again
		f.RetryAfter = (f.RetryAfter + time.Millisecond - 1).Truncate(time.Millisecond)
	}
	return f
}

func recognise(err error) Failure {
	var (
		call     *gateway.Error
		invalid  *auth.InvalidError
		denied   *DeniedError
		document *admin.ForbiddenError
		missing  *NotFoundError
		exists   *ExistsError
		away     *UnavailableError
		fields   *FieldsError
		rejected *admin.InvalidError
		problems policy.Problems
		stalled  *StalledError
		changed  *ChangedError
		state    *StateError
	)
	switch {
	case errors.As(err, &call):
		f := Failure{
			Reason: call.Reason, Message: call.Message, Subject: call.Subject,
			RetryAfter: call.RetryAfter, Verdicts: call.Verdicts, Rate: call.Rate, Stage: call.Stage,
			FirstRequestID: call.FirstRequestID,
		}
		if call.Field != "" {
			f.Fields = []Field{{Path: call.Field, Description: call.Message}}
		}
		if call.Reason == gateway.ModelNotFound {
			f.Resource = Resource{"weir.v1/Model", call.Subject}
		}
		return f
	case errors.As(err, &invalid):
		return Failure{Reason: CredentialsInvalid, Message: invalid.Why}
	case errors.As(err, &denied):
		return Failure{Reason: PermissionDenied, Message: denied.Why}
	case errors.As(err, &document):
		return Failure{Reason: PermissionDenied, Message: document.Why}
	case errors.As(err, &missing):
		return Failure{Reason: ResourceNotFound, Message: missing.Error(), Resource: missing.Resource}
	case errors.As(err, &exists):
		return Failure{Reason: ResourceExists, Message: exists.Error(), Resource: exists.Resource}
	case errors.As(err, &away):
		return Failure{Reason: StoreUnavailable, Message: away.Error()}
	case errors.As(err, &fields):
		return Failure{Reason: gateway.InvalidRequest, Message: fields.Error(), Fields: fields.Fields}
	case errors.As(err, &rejected):
		f := Failure{Reason: gateway.InvalidRequest, Message: rejected.Error()}
		if n := len(rejected.Violations); n > 1 {
			f.Message = fmt.Sprintf("%d problems in the documents, nothing was applied", n)
		}
		for _, v := range rejected.Violations {
			f.Fields = append(f.Fields, documentField(v.Source, v.Problem))
		}
		return f
	case errors.As(err, &problems):
		f := Failure{Reason: gateway.InvalidRequest, Message: problems.Error()}
		for _, p := range problems {
			f.Fields = append(f.Fields, documentField("", p))
		}
		return f
	case errors.As(err, &changed):
		return Failure{Reason: ResourceChanged, Message: changed.Error(), Resource: changed.Resource}
	case errors.As(err, &state):
		return Failure{Reason: ResourceState, Message: state.Why}
	case errors.As(err, &stalled):
		return Failure{Reason: ReaderStalled, Message: stalled.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return Failure{Reason: gateway.DeadlineExceeded, Message: "the deadline passed"}
	case errors.Is(err, context.Canceled):
		return Failure{Reason: gateway.Cancelled, Message: "the caller cancelled the call"}
	}
	return Failure{Reason: Internal}
}

// documentField says where in its source a document is wrong:
// "policies/base.yaml:12: safety.output[0].action".
func documentField(source string, p policy.Problem) Field {
	path := source
	if p.Line > 0 {
		path = fmt.Sprintf("%s:%d", source, p.Line)
	}
	if p.Field != "" {
		if path != "" {
			path += ": "
		}
		path += p.Field
	}
	description := p.Message
	if p.Document != "" {
		description = p.Document + ": " + description
	}
	return Field{Path: path, Description: description}
}

// Logged is an error as the operator's log may have it: with the cause that
// the caller is not told.
func Logged(err error) string {
	var away *UnavailableError
	if errors.As(err, &away) {
		return fmt.Sprintf("%v: %v", away, away.Err)
	}
	return gateway.Logged(err)
}
