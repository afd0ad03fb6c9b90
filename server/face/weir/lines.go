package weir

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/report"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// mostOfCall bounds how many lines of one call are told.
const mostOfCall = 1000

// ListLines lists lines of the ledger. Whoever may see what calls cost may see
// them.
func (a *Accounting) ListLines(ctx context.Context, req *weirv1.ListLinesRequest) (*weirv1.ListLinesResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	f := req.GetFilter()
	q := report.LineQuery{
		Outcome: accounting.Outcome(f.GetOutcome()), Model: f.GetModel(), Backend: f.GetBackend(), Project: f.GetProject(), Key: f.GetKey(),
	}
	if f.GetStartTime() != nil {
		q.From = f.GetStartTime().AsTime()
	}
	if f.GetEndTime() != nil {
		q.To = f.GetEndTime().AsTime()
	}
	if q.Tenant, err = a.tenant(caller, segment(req.GetParent(), 1)); err != nil {
		return nil, err
	}
	list, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
	if err != nil {
		return nil, err
	}
	page, err := openPage("lines "+req.GetParent()+" "+string(list), req, 3, mostPage)
	if err != nil {
		return nil, err
	}
	if page.after[0] != "" {
		attempt, wrong := strconv.Atoi(page.after[1])
		number, also := strconv.Atoi(page.after[2])
		if wrong != nil || also != nil {
			return nil, face.Invalid("page_token", "it is not of this list: send next_page_token of the page before")
		}
		q.After = report.Place{RequestID: page.after[0], Attempt: attempt, Number: number}
	}
	q.Limit = page.size + 1
	a.Settled(ctx)
	lines, err := a.Lines(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &weirv1.ListLinesResponse{}
	if len(lines) > page.size {
		lines = lines[:page.size]
		last := lines[page.size-1].Place()
		if out.NextPageToken, err = page.token(last.RequestID, strconv.Itoa(last.Attempt), strconv.Itoa(last.Number)); err != nil {
			return nil, err
		}
	}
	for _, l := range lines {
		out.Lines = append(out.Lines, ledgerLine(caller, l))
	}
	return out, nil
}

// GetCall tells what the ledger has of a call.
func (a *Accounting) GetCall(ctx context.Context, req *weirv1.GetCallRequest) (*weirv1.GetCallResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	absent := missing(callType, req.GetName())
	q := report.LineQuery{RequestID: segment(req.GetName(), 3), Limit: mostOfCall}
	if q.Tenant, err = a.tenant(caller, segment(req.GetName(), 1)); err != nil {
		return nil, absent
	}
	a.Settled(ctx)
	lines, err := a.Lines(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, absent
	}
	call := &weirv1.Call{Name: callName(lines[0])}
	for _, l := range lines {
		call.Lines = append(call.Lines, ledgerLine(caller, l))
	}
	return &weirv1.GetCallResponse{Call: call}, nil
}

func callName(l report.Line) string { return "tenants/" + l.Subject.Tenant + "/calls/" + l.RequestID }

func ledgerLine(caller auth.Caller, l report.Line) *weirv1.LedgerLine {
	out := &weirv1.LedgerLine{
		Call: callName(l), Attempt: int32(l.Attempt.Number), Number: int32(l.Number),
		ClientRequestId: l.ClientRequestID, ParentRequestId: l.ParentRequestID, Purpose: l.Purpose,
		Project: l.Subject.Project, Key: l.Subject.Key, EndUser: l.Subject.EndUser, Session: l.Subject.Session, Labels: l.Subject.Labels,
		Model: l.Model, Backend: l.Backend, BackendModel: l.BackendModel, Reason: l.Reason,
		StartTime: timestamppb.New(l.Start), EndTime: timestamppb.New(l.End), Outcome: string(l.Outcome),
		Usage: face.Usage(l.Usage, l.Source), OwnUsage: face.Usage(l.OwnUsage, ""), Cost: face.Cost(l.Cost),
	}
	if l.Cost != nil && caller.IsPlatform() {
		out.ProviderCost = face.Money(l.Cost.ProviderCost)
	}
	if saved, known := l.Saved(); known {
		out.SavedCost = face.Money(saved)
	}
	if !caller.Role.Accounts() {
		return out
	}
	for _, f := range l.Allocations {
		fed := &weirv1.LedgerAllocation{Window: f.Window}
		if f.Unit != "" {
			fed.Amount = amount(f.Unit, f.Amount)
		}
		out.Allocations = append(out.Allocations, fed)
	}
	return out
}
