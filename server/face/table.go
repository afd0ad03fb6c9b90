// Package face is the one table of errors: what a failure is called on gRPC,
// on HTTP and in OpenAI's words, and whether trying again makes sense. Every
// face answers from it, so a caller meets the same failure under the same name
// wherever it comes in. The conversions that several faces share stand here
// too.
//
// It writes to no wire and logs nothing: faces do the one, package intercept
// the other. A failure that the table does not list is told as the id of the
// request and nothing else.
package face

import (
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/weir-gateway/weir/server/gateway"
)

// Domain is that of every google.rpc.ErrorInfo.
const Domain = "weir.v1"

// The reasons of failures that no call of the gateway has. The others are
// gateway's.
const (
	CredentialsInvalid gateway.Reason = "CREDENTIALS_INVALID"
	PermissionDenied   gateway.Reason = "PERMISSION_DENIED"
	ResourceNotFound   gateway.Reason = "RESOURCE_NOT_FOUND"
	ResourceExists     gateway.Reason = "RESOURCE_EXISTS"
	ResourceChanged    gateway.Reason = "RESOURCE_CHANGED"
	ResourceState      gateway.Reason = "RESOURCE_STATE"
	StoreUnavailable   gateway.Reason = "STORE_UNAVAILABLE"
	ReaderStalled      gateway.Reason = "READER_STALLED"
	Internal           gateway.Reason = "INTERNAL"
)

// A Row is one failure in the words of each wire.
type Row struct {
	Code codes.Code
	HTTP int
	// Type and OpenAI are `type` and `code` of an OpenAI error; an empty
	// OpenAI is null.
	Type   string
	OpenAI string
	// Retry tells whether the same request may do better later: with
	// google.rpc.RetryInfo, Retry-After and x-should-retry: true. Else clients
	// are told that it will not, since those of OpenAI try every 429 and 5xx
	// three times, each of which may cost.
	Retry bool
}

const (
	invalidRequest = "invalid_request_error"
	serverError    = "server_error"
)

// statusClientClosed is nginx's status for a client that has gone; nobody but
// the log sees it.
const statusClientClosed = 499

var table = map[gateway.Reason]Row{
	gateway.InvalidRequest:        {codes.InvalidArgument, http.StatusBadRequest, invalidRequest, "", false},
	gateway.UnsupportedFeature:    {codes.InvalidArgument, http.StatusBadRequest, invalidRequest, "unsupported_parameter", false},
	gateway.ContextLengthExceeded: {codes.InvalidArgument, http.StatusBadRequest, invalidRequest, "context_length_exceeded", false},
	gateway.ModelNotFound:         {codes.NotFound, http.StatusNotFound, invalidRequest, "model_not_found", false},
	gateway.InputBlocked:          {codes.FailedPrecondition, http.StatusBadRequest, invalidRequest, "content_filter", false},
	gateway.RateLimitExceeded:     {codes.ResourceExhausted, http.StatusTooManyRequests, "rate_limit_error", "rate_limit_exceeded", true},
	gateway.BudgetExhausted:       {codes.ResourceExhausted, http.StatusTooManyRequests, "insufficient_quota", "insufficient_quota", false},
	gateway.UnpricedModel:         {codes.FailedPrecondition, http.StatusBadRequest, invalidRequest, "unpriced_model", false},
	gateway.BackendOverloaded:     {codes.Unavailable, http.StatusServiceUnavailable, serverError, "overloaded", true},
	gateway.BackendUnavailable:    {codes.Unavailable, http.StatusServiceUnavailable, serverError, "backend_unavailable", true},
	gateway.BackendProtocol:       {codes.Internal, http.StatusBadGateway, serverError, "backend_protocol", false},
	gateway.BackendCredentials:    {codes.Internal, http.StatusBadGateway, serverError, "backend_credentials", false},
	gateway.DeadlineExceeded:      {codes.DeadlineExceeded, http.StatusGatewayTimeout, "timeout_error", "deadline_exceeded", false},
	gateway.Cancelled:             {codes.Canceled, statusClientClosed, serverError, "cancelled", false},
	gateway.StreamBroken:          {codes.Aborted, http.StatusBadGateway, serverError, "stream_broken", false},
	gateway.AccountingUnavailable: {codes.Unavailable, http.StatusServiceUnavailable, serverError, "accounting_unavailable", true},
	gateway.IdempotencyKeyTaken:   {codes.InvalidArgument, http.StatusBadRequest, invalidRequest, "idempotency_key_taken", false},
	gateway.CallRunning:           {codes.Aborted, http.StatusConflict, invalidRequest, "call_running", true},
	gateway.AnswerNotKept:         {codes.FailedPrecondition, http.StatusConflict, invalidRequest, "answer_not_kept", false},
	CredentialsInvalid:            {codes.Unauthenticated, http.StatusUnauthorized, "authentication_error", "invalid_api_key", false},
	PermissionDenied:              {codes.PermissionDenied, http.StatusForbidden, "permission_error", "permission_denied", false},
	ResourceNotFound:              {codes.NotFound, http.StatusNotFound, invalidRequest, "not_found", false},
	ResourceExists:                {codes.AlreadyExists, http.StatusConflict, invalidRequest, "already_exists", false},
	ResourceChanged:               {codes.Aborted, http.StatusConflict, invalidRequest, "conflict", false},
	ResourceState:                 {codes.FailedPrecondition, http.StatusBadRequest, invalidRequest, "failed_precondition", false},
	StoreUnavailable:              {codes.Unavailable, http.StatusServiceUnavailable, serverError, "store_unavailable", true},
	ReaderStalled:                 {codes.Canceled, statusClientClosed, serverError, "reader_stalled", false},
	Internal:                      {codes.Internal, http.StatusInternalServerError, serverError, "", false},
}
