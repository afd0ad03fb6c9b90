package weir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/weir-gateway/weir/accounting/outputlog"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// Evaluation answers weir.v1.EvaluationService.
type Evaluation struct {
	weirv1.UnimplementedEvaluationServiceServer

	Outputs  outputlog.Store
	Redactor *outputlog.Redactor
	// Flush writes what this replica has recorded and not written yet.
	Flush func(context.Context) error
	// HasTenant tells whether there is a tenant of that name.
	HasTenant func(name string) bool
	// Away returns an error of Outputs as *face.UnavailableError where the store
	// is away.
	Away func(error) error
	Now  func() time.Time
}

const (
	defaultOutputs = 50      // in a page
	mostOutputs    = 200     // in a page
	pageBytes      = 4 << 20 // after which a page ends
	// flushTime bounds how long a reader waits for what was just recorded.
	flushTime = time.Second
)

// ListOutputs returns a page of outputs.
func (e *Evaluation) ListOutputs(ctx context.Context, req *weirv1.ListOutputsRequest) (*weirv1.ListOutputsResponse, error) {
	q, err := e.query(ctx, req.GetParent(), req.GetFilter())
	if err != nil {
		return nil, err
	}
	if q.After, err = readOutputPage(req); err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize(), defaultOutputs, mostOutputs)
	q.Limit = size + 1
	list, err := e.Outputs.Outputs(ctx, q)
	if err != nil {
		return nil, e.Away(err)
	}
	out := &weirv1.ListOutputsResponse{}
	for i := 0; i < len(list); i++ {
		if i == size || proto.Size(out) > pageBytes {
			out.NextPageToken, err = writeOutputPage(req, list[i-1].Cursor())
			return out, err
		}
		out.Outputs = append(out.Outputs, output(list[i]))
	}
	return out, nil
}

// GetOutput returns an output.
func (e *Evaluation) GetOutput(ctx context.Context, req *weirv1.GetOutputRequest) (*weirv1.GetOutputResponse, error) {
	o, err := e.find(ctx, "name", req.GetName(), reading)
	if err != nil {
		return nil, err
	}
	return &weirv1.GetOutputResponse{Output: output(o)}, nil
}

// ExportOutputs streams outputs.
func (e *Evaluation) ExportOutputs(req *weirv1.ExportOutputsRequest, stream grpc.ServerStreamingServer[weirv1.ExportOutputsResponse]) error {
	ctx := stream.Context()
	q, err := e.query(ctx, req.GetParent(), req.GetFilter())
	if err != nil {
		return err
	}
	for q.Limit = defaultOutputs; ; {
		list, err := e.Outputs.Outputs(ctx, q)
		if err != nil {
			return e.Away(err)
		}
		for _, o := range list {
			if err := stream.Send(&weirv1.ExportOutputsResponse{Output: output(o)}); err != nil {
				return err
			}
		}
		if len(list) < q.Limit {
			return nil
		}
		q.After = list[len(list)-1].Cursor()
	}
}

// CreateRating keeps a rating.
func (e *Evaluation) CreateRating(ctx context.Context, req *weirv1.CreateRatingRequest) (*weirv1.CreateRatingResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	o, err := e.find(ctx, "parent", req.GetParent(), judging)
	if err != nil {
		return nil, err
	}
	said := req.GetRating()
	r := outputlog.Rating{
		RequestID: o.Record.RequestID, Tenant: o.Record.Subject.Tenant, ID: req.GetRatingId(),
		Project: caller.Project, Key: caller.Key, Rater: said.GetRater(), Made: e.Now(),
		Thumb: thumbWords[said.GetThumb()], Score: said.Score, Grade: said.Grade, Comment: said.GetComment(), Corrected: said.GetCorrectedOutput(),
	}
	if r.ID == "" {
		r.ID = uuid.NewString()
	}
	kept, err := e.Outputs.Rate(ctx, e.Redactor.RedactRating(r, o.Record.Mode))
	switch {
	case errors.Is(err, outputlog.ErrNoOutput): // it has just expired
		return nil, missing(outputType, req.GetParent())
	case errors.Is(err, outputlog.ErrRatingTaken):
		return nil, &face.ExistsError{Resource: face.Resource{Type: ratingType, Name: req.GetParent() + "/ratings/" + r.ID}, Err: err}
	case err != nil:
		return nil, e.Away(err)
	}
	return &weirv1.CreateRatingResponse{Rating: rating(kept)}, nil
}

// query is what a filter means for a caller.
func (e *Evaluation) query(ctx context.Context, parent string, f *weirv1.OutputFilter) (q outputlog.Query, err error) {
	if q.Tenant, err = e.tenant(ctx, "parent", parent, tenantType, reading); err != nil {
		return q, err
	}
	e.flush(ctx)
	if f == nil {
		return q, nil
	}
	q.Model, q.Project, q.Finish, q.Verdicts = f.Model, f.Project, finishWords[f.FinishReason], f.HasVerdict
	if f.GetStartTime() != nil {
		q.From = f.GetStartTime().AsTime()
	}
	if f.GetEndTime() != nil {
		q.To = f.GetEndTime().AsTime()
	}
	return q, nil
}

// find returns the output of a name, if the caller may see it.
func (e *Evaluation) find(ctx context.Context, field, name string, to right) (outputlog.Output, error) {
	tenant, err := e.tenant(ctx, field, name, outputType, to)
	if err != nil {
		return outputlog.Output{}, err
	}
	e.flush(ctx)
	o, err := e.Outputs.Output(ctx, tenant, segment(name, 3))
	if errors.Is(err, outputlog.ErrNoOutput) {
		return o, missing(outputType, name)
	}
	return o, e.Away(err)
}

// A right is what only keys of some roles may do.
type right struct {
	has     func(auth.Role) bool
	do, who string
}

var (
	reading = right{auth.Role.Reads, "read what calls said", "admin, member or viewer"}
	judging = right{auth.Role.Judges, "rate what calls said", "admin or member"}
)

// tenant is whose outputs a caller asks for, by the name in a field of its
// request. Another tenant looks as if it were not there.
func (e *Evaluation) tenant(ctx context.Context, field, name, kind string, to right) (string, error) {
	caller, err := callerOf(ctx)
	asked := segment(name, 1)
	switch {
	case err != nil:
		return "", err
	case asked == everyTenant && caller.IsPlatform():
		return "", face.Invalid(field, "the platform's key belongs to no tenant: name the one whose outputs are meant")
	case asked == everyTenant:
		asked = caller.Tenant
	}
	return asked, allowed(caller, e.HasTenant, asked, kind, name, to.has, to.do, to.who)
}

// flush waits a little for what was just recorded here. Where it cannot be
// written, the read says so.
func (e *Evaluation) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	_ = e.Flush(ctx)
}

func outputName(tenant, requestID string) string {
	return fmt.Sprintf("tenants/%s/outputs/%s", tenant, requestID)
}
