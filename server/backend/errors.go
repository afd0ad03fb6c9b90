package backend

import (
	"errors"
	"fmt"
	"time"
)

// A Class sorts the failures of backends by what is to be done about them.
type Class string

// The classes.
const (
	Unreachable     Class = "unreachable"      // no connection; another target may serve
	Overloaded      Class = "overloaded"       // the backend sheds load; another target, or later
	RateLimited     Class = "rate_limited"     // our account's limit at the backend; another target, or later
	Rejected        Class = "rejected"         // the backend calls the request wrong; no retry
	ContextExceeded Class = "context_exceeded" // the prompt is too long for the model; no retry
	ModelMissing    Class = "model_missing"    // the backend lacks the model; another target may have it
	Credentials     Class = "credentials"      // the backend refuses our credentials; an operator's problem
	Failed          Class = "failed"           // the backend failed by its own word
	Protocol        Class = "protocol"         // the backend answered something that makes no sense
	Broken          Class = "broken"           // the answer broke off
)

// An Error is a failure of a backend.
type Error struct {
	Class Class
	// Detail says what happened, for the operator's log. It can hold text of
	// the backend and is never shown to a caller.
	Detail string
	// Status is the HTTP status or gRPC code of the backend, 0 where there was none.
	Status int
	// RetryAfter is what the backend asks for, 0 where it asks for nothing.
	RetryAfter time.Duration
	Err        error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("backend %s", e.Class)
	if e.Status != 0 {
		s += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ElsewhereHelps tells whether another target may do better with the same
// request.
func (e *Error) ElsewhereHelps() bool {
	switch e.Class {
	case Rejected, ContextExceeded:
		return false
	}
	return true
}

// ClassOf returns the class of a failure, and Failed for one that no driver
// has classified.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Failed
}
