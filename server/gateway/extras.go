package gateway

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/weir-gateway/weir/server/backend"
)

// told takes what the backend says of a whole answer.
func (a *attempt) told(e backend.Event) {
	switch e.Kind {
	case backend.Used:
		a.usage = e.Usage
	case backend.Served:
		a.served = e.ServiceClass
	case backend.Beside:
		a.answer.Extras = nil
		if a.passes(e.Extras) {
			a.answer.Extras = e.Extras
		}
	}
}

// passes tells whether extras may reach the caller. No guard has seen them, so
// where a rule can change the answer they pass only if the rules would let each
// name and value in them pass as it is, and no rule asks a judge, whom nobody
// asked. They pass whole or not at all.
func (a *attempt) passes(extras backend.VendorExtras) bool {
	if !a.enforced {
		return true
	}
	if a.rules.Holds() {
		return false
	}
	for vendor, object := range extras {
		if !json.Valid(object) || !a.rules.Clean(vendor) {
			return false
		}
		// A string is judged without its escapes, and a number as it is written.
		read := json.NewDecoder(bytes.NewReader(object))
		read.UseNumber()
		for {
			token, err := read.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				return false // which it cannot be
			}
			text, is := token.(string)
			if n, number := token.(json.Number); number {
				text, is = n.String(), true
			}
			if is && !a.rules.Clean(text) {
				return false
			}
		}
	}
	return true
}
