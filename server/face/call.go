package face

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/gateway"
)

// The metadata or headers by which a caller says what a call is about, where
// its request has no place for it.
const (
	labelHeader   = "x-weir-label-"
	endUserHeader = "x-weir-end-user"
	sessionHeader = "x-weir-session"
	maxCostHeader = "x-weir-max-cost"
)

// The bounds of what a caller says of a call; RequestContext of weir.v1 has
// the same.
const (
	maxLabels     = 32
	maxLabelValue = 128
	maxName       = 256
)

var labelKey = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// About is what a request says of its call.
type About struct {
	Labels  map[string]string
	EndUser string
	Session string
	MaxCost *accounting.Money
}

// FitsLabel tells whether a pair can be a label.
func FitsLabel(key, value string) bool {
	return labelKey.MatchString(key) && utf8.ValidString(value) && utf8.RuneCountInString(value) <= maxLabelValue
}

// NewCall starts a call for the caller of the context, under the ids of its
// trail. Headers, which may be gRPC metadata, fill what the request does not
// say itself. It fails where the caller has no tenant to account to.
func NewCall(ctx context.Context, headers map[string][]string, about About) (*gateway.Call, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok {
		return nil, errors.New("the call reached a face without a caller: the chain lacks authentication")
	}
	if caller.IsPlatform() {
		return nil, &DeniedError{"the platform's key belongs to no tenant, so its calls could be charged to nobody: make a tenant's key with `weir key create` and call with that"}
	}
	trail := TrailOf(ctx)
	call := &gateway.Call{
		RequestID: trail.RequestID, ClientRequestID: trail.ClientRequestID, Caller: caller,
		Labels: maps.Clone(about.Labels), EndUser: about.EndUser, Session: about.Session, MaxCost: about.MaxCost,
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if len(headers[name]) == 0 {
			continue
		}
		if err := complement(call, strings.ToLower(name), headers[name][0]); err != nil {
			return nil, err
		}
	}
	if len(call.Labels) > maxLabels {
		return nil, Invalid("context.labels", "a call has at most %d labels, those in headers among them; this one has %d", maxLabels, len(call.Labels))
	}
	return call, nil
}

func complement(call *gateway.Call, header, value string) error {
	switch {
	case strings.HasPrefix(header, labelHeader):
		key := strings.TrimPrefix(header, labelHeader)
		if !FitsLabel(key, value) {
			return Invalid(header, "a label's key is a small letter and then up to 62 small letters, digits, - and _; its value has at most %d characters", maxLabelValue)
		}
		if _, said := call.Labels[key]; said {
			return nil
		}
		if call.Labels == nil {
			call.Labels = map[string]string{}
		}
		call.Labels[key] = value
	case header == endUserHeader:
		return fill(&call.EndUser, header, value)
	case header == sessionHeader:
		return fill(&call.Session, header, value)
	case header == maxCostHeader:
		return fillMaxCost(call, value)
	}
	return nil
}

func fill(field *string, header, value string) error {
	if !FitsName(value) {
		return Invalid(header, "use at most %d characters of UTF-8", maxName)
	}
	if *field == "" {
		*field = value
	}
	return nil
}

func fillMaxCost(call *gateway.Call, value string) error {
	m, err := accounting.ParseAmount(value)
	if err != nil || m.Nanos < 0 {
		return Invalid(maxCostHeader, "write the most that the call may cost as an amount and its currency, such as 0.05 USD")
	}
	if call.MaxCost == nil {
		call.MaxCost = &m
	}
	return nil
}

// FitsName tells whether a text can name an end user or a session.
func FitsName(s string) bool { return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxName }
