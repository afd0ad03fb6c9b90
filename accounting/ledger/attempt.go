package ledger

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/accounting"
)

// checkAttempt refuses at the start what could not be written at the end: a
// settle must not fail over a label.
func checkAttempt(a *accounting.Attempt) error {
	var err error
	check := func(what, s string) {
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			err = errors.Join(err, fmt.Errorf("%s %q holds a zero byte or is not UTF-8: send plain text", what, s))
		}
	}
	check("client request id", a.ClientRequestID)
	check("parent request id", a.ParentRequestID)
	check("purpose", a.Purpose)
	check("tenant", a.Subject.Tenant)
	check("project", a.Subject.Project)
	check("key", a.Subject.Key)
	check("end user", a.Subject.EndUser)
	check("session", a.Subject.Session)
	check("model", a.Model)
	check("backend", a.Backend)
	check("backend model", a.BackendModel)
	for k, v := range a.Subject.Labels {
		check("label", k)
		check("label", v)
	}
	return err
}
