package weir

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting/ledger"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// LetterStore keeps what could not be kept in the ledger. Its methods are safe
// for concurrent use.
type LetterStore interface {
	// Letters returns up to limit dead letters, by id, behind one.
	Letters(ctx context.Context, after int64, limit int) ([]ledger.DeadLetter, error)
	// Replay writes a dead letter to the ledger and deletes it, at once, and tells
	// whether anything was counted. It fails with ledger.ErrNoLetter, or with a
	// *ledger.RefusedError and leaves the letter as it is.
	Replay(ctx context.Context, by auth.Author, id int64) (letter ledger.DeadLetter, counted bool, err error)
}

// ListDeadLetters lists what could not be kept in the ledger.
func (a *Accounting) ListDeadLetters(ctx context.Context, req *weirv1.ListDeadLettersRequest) (*weirv1.ListDeadLettersResponse, error) {
	if err := a.onlyPlatform(ctx); err != nil {
		return nil, err
	}
	page, err := openPage("dead letters", req, 1, mostPage)
	if err != nil {
		return nil, err
	}
	after := int64(0)
	if page.after[0] != "" {
		if after, err = strconv.ParseInt(page.after[0], 10, 64); err != nil {
			return nil, face.Invalid("page_token", "it is not of this list: send next_page_token of the page before")
		}
	}
	letters, err := a.Letters.Letters(ctx, after, page.size+1)
	if err != nil {
		return nil, a.away(err)
	}
	out := &weirv1.ListDeadLettersResponse{}
	if len(letters) > page.size {
		letters = letters[:page.size]
		if out.NextPageToken, err = page.token(strconv.FormatInt(letters[page.size-1].ID, 10)); err != nil {
			return nil, err
		}
	}
	for _, l := range letters {
		out.DeadLetters = append(out.DeadLetters, deadLetter(l, a.Now()))
	}
	return out, nil
}

// ReplayDeadLetter writes a dead letter to the ledger.
func (a *Accounting) ReplayDeadLetter(ctx context.Context, req *weirv1.ReplayDeadLetterRequest) (*weirv1.ReplayDeadLetterResponse, error) {
	if err := a.onlyPlatform(ctx); err != nil {
		return nil, err
	}
	by, err := authorOf(ctx, a.Now)
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(segment(req.GetName(), 1), 10, 64)
	if err != nil {
		return nil, err // the proto file has checked that it is a number
	}
	letter, counted, err := a.Letters.Replay(ctx, by, id)
	var refused *ledger.RefusedError
	switch {
	case errors.Is(err, ledger.ErrNoLetter):
		return nil, missing(letterType, req.GetName())
	case errors.As(err, &refused):
		return nil, &face.StateError{Why: fmt.Sprintf("dead letter %d of call %s, attempt %d, still cannot be kept in the ledger, and stays: %v", id, letter.RequestID, letter.Attempt, refused.Err)}
	case err != nil:
		return nil, a.away(err)
	}
	return &weirv1.ReplayDeadLetterResponse{DeadLetter: deadLetter(letter, a.Now()), Counted: counted}, nil
}

func deadLetter(l ledger.DeadLetter, now time.Time) *weirv1.DeadLetter {
	out := &weirv1.DeadLetter{
		Name: "deadLetters/" + strconv.FormatInt(l.ID, 10), RequestId: l.RequestID, Attempt: int32(l.Attempt), CreateTime: timestamppb.New(l.Time), Cause: l.Cause,
	}
	if e, err := l.Entry(now); err == nil {
		out.Readable, out.Tenant, out.Model, out.Outcome = true, e.Line.Subject.Tenant, e.Line.Model, string(e.Line.Outcome)
	}
	return out
}
