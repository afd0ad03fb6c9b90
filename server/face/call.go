package face

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
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
	// labelsHeader holds key=value,key=value with values percent-encoded as in
	// W3C Baggage: metadata of gRPC is ASCII, and labels need not be.
	labelsHeader  = "x-weir-labels"
	labelHeader   = "x-weir-label-" // the label whose key follows, its value as it is
	endUserHeader = "x-weir-end-user"
	sessionHeader = "x-weir-session"
	maxCostHeader = "x-weir-max-cost"
	// Both names mean the same; the second is what HTTP clients know
	// (draft-ietf-httpapi-idempotency-key-header).
	idempotencyHeader      = "x-weir-idempotency-key"
	plainIdempotencyHeader = "idempotency-key"
	// projectHeader is what the caller takes its key to belong to: a key has one
	// project, so another name is a mistake that would be charged to the wrong one.
	projectHeader = "x-weir-project"
	// cacheHeader says whether the answer may come from the cache, as in HTTP (RFC
	// 9111, 5.2.1), of which no-cache and no-store are known.
	cacheHeader = "cache-control"
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

	IdempotencyKey string
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
	if !caller.Role.Calls() {
		return nil, &DeniedError{fmt.Sprintf("key %q is of role %s, which calls no model: use one of role member or admin", caller.Key, caller.Role)}
	}
	trail := TrailOf(ctx)
	call := &gateway.Call{
		RequestID: trail.RequestID, ClientRequestID: trail.ClientRequestID, Caller: caller,
		Labels: maps.Clone(about.Labels), EndUser: about.EndUser, Session: about.Session, MaxCost: about.MaxCost,
		IdempotencyKey: about.IdempotencyKey,
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if err := complement(call, strings.ToLower(name), headers[name]); err != nil {
			return nil, err
		}
	}
	if len(call.Labels) > maxLabels {
		return nil, Invalid("context.labels", "a call has at most %d labels, those in headers among them; this one has %d", maxLabels, len(call.Labels))
	}
	return call, nil
}

// complement fills a call with what one header says. Its errors name the
// header.
func complement(call *gateway.Call, header string, values []string) error {
	if len(values) == 0 {
		return nil
	}
	switch {
	case header == labelsHeader:
		labels, err := parseLabels(strings.Join(values, ","))
		if err != nil {
			return err
		}
		for key, value := range labels {
			label(call, key, value)
		}
	case strings.HasPrefix(header, labelHeader):
		key := strings.TrimPrefix(header, labelHeader)
		if !FitsLabel(key, values[0]) {
			return badLabel(header)
		}
		label(call, key, values[0])
	case header == endUserHeader:
		return fill(&call.EndUser, header, values[0])
	case header == sessionHeader:
		return fill(&call.Session, header, values[0])
	case header == idempotencyHeader || header == plainIdempotencyHeader:
		return fill(&call.IdempotencyKey, header, values[0])
	case header == cacheHeader:
		call.CacheControl = max(call.CacheControl, cacheControl(values))
	case header == maxCostHeader:
		return fillMaxCost(call, values[0])
	case header == projectHeader && values[0] != call.Caller.Project:
		return Invalid(header, "the key belongs to project %q, and every call of it does: leave the header out, or call with a key of the other project", call.Caller.Project)
	}
	return nil
}

func badLabel(header string) error {
	return Invalid(header, "a label's key is a small letter and then up to 62 small letters, digits, - and _; its value has at most %d characters", maxLabelValue)
}

// label sets a label that the call does not have yet.
func label(call *gateway.Call, key, value string) {
	if _, said := call.Labels[key]; said {
		return
	}
	if call.Labels == nil {
		call.Labels = map[string]string{}
	}
	call.Labels[key] = value
}

// parseLabels reads key=value,key=value.
func parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, encoded, isPair := strings.Cut(pair, "=")
		if !isPair {
			return nil, Invalid(labelsHeader, "write labels as key=value,key=value, and a comma in a value as %%2C")
		}
		key = strings.TrimSpace(key)
		value, err := url.PathUnescape(strings.TrimSpace(encoded))
		if err != nil {
			return nil, Invalid(labelsHeader, "values are percent-encoded: write a %% in one as %%25")
		}
		if !FitsLabel(key, value) {
			return nil, badLabel(labelsHeader)
		}
		if _, twice := labels[key]; twice {
			return nil, Invalid(labelsHeader, "a key stands in it twice: give each label one value")
		}
		labels[key] = value
	}
	return labels, nil
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

// cacheControl is the strictest of what a caller says. What is not known is for
// others, such as proxies on the way.
func cacheControl(values []string) (c gateway.CacheControl) {
	for _, value := range values {
		for directive := range strings.SplitSeq(value, ",") {
			switch strings.ToLower(strings.TrimSpace(directive)) {
			case "no-cache":
				c = max(c, gateway.CacheRenewed)
			case "no-store":
				c = gateway.CacheForbidden
			}
		}
	}
	return c
}

// FitsName tells whether a text can name an end user or a session.
func FitsName(s string) bool { return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxName }
