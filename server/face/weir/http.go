package weir

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"connectrpc.com/vanguard/vanguardgrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weir-gateway/weir/server/face"
)

// restPath is what the paths of google.api.http in our proto files begin with.
const restPath = "/weir/v1/"

// bodyTime bounds how slowly the body of a request may come.
const bodyTime = 2 * time.Minute

// Mount puts the services of a gRPC server at their paths of a mux: as REST
// below /weir/v1/, as google.api.http in the proto files says, and as Connect
// and gRPC-Web at /weir.v1.SERVICE/METHOD. Each request becomes a gRPC call of
// the server, with its interceptors. The server is for Mount alone: its
// GracefulStop would cut off what runs. Messages have at most so many bytes.
// The chain is what a request goes through before it is a call.
func Mount(mux *http.ServeMux, calls *grpc.Server, most int64, chain func(http.Handler) http.Handler) error {
	ways, err := bindings(calls)
	if err != nil {
		return fmt.Errorf("weir.v1 over HTTP: %w", err)
	}
	transcoder, err := vanguardgrpc.NewTranscoder(calls,
		vanguard.WithDefaultServiceOptions(
			vanguard.WithMaxMessageBufferBytes(uint32(most)),
			vanguard.WithNoTargetCompression(), // the server is here: what is compressed is so on the wire alone
		),
		// As tools for gRPC print and read it. What is not known is refused: a
		// field with a slip in its name must not go unheard.
		vanguard.WithCodec(func(r vanguard.TypeResolver) vanguard.Codec {
			return strictJSON{vanguard.JSONCodec{MarshalOptions: protojson.MarshalOptions{Resolver: r}, UnmarshalOptions: protojson.UnmarshalOptions{Resolver: r}}}
		}),
		vanguard.WithCompression(vanguard.CompressionGzip,
			func() connect.Compressor { return gzip.NewWriter(io.Discard) },
			func() connect.Decompressor { return &inflater{most: most} }),
		vanguard.WithUnknownHandler(http.HandlerFunc(nothingHere)),
	)
	if err != nil {
		return fmt.Errorf("weir.v1 over HTTP: %w", err)
	}
	handler := chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // writers in tests have no deadlines
		r.Body = &body{http.MaxBytesReader(w, r.Body, most), control}
		if strings.HasPrefix(r.URL.Path, restPath) {
			if err := unheard(ways, r.Method, r.URL); err != nil {
				refuse(w, r, err)
				return
			}
		}
		plainly(r)
		transcoder.ServeHTTP(w, r)
	}))
	mux.Handle(restPath, handler)
	for name := range calls.GetServiceInfo() {
		mux.Handle("/"+name+"/", handler)
	}
	return nil
}

// plainly understands requests that people write by hand: curl calls JSON a
// form, and nobody types the version of Connect.
func plainly(r *http.Request) {
	h := r.Header
	switch {
	case strings.HasPrefix(r.URL.Path, restPath):
		if kind := h.Get("Content-Type"); kind == "" || kind == "application/x-www-form-urlencoded" {
			h.Set("Content-Type", "application/json")
		}
	case strings.HasPrefix(h.Get("Content-Type"), "application/json") && h.Get("Connect-Protocol-Version") == "":
		h.Set("Connect-Protocol-Version", "1")
	}
}

// nothingHere answers a path that no service has.
func nothingHere(w http.ResponseWriter, _ *http.Request) {
	told, err := protojson.Marshal(status.New(codes.Unimplemented, "there is no such method of weir.v1 at this path: see docs/clients.md, or the google.api.http options in the proto files").Proto())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write(told) // a client that has gone learns nothing
}

// strictJSON tells what is wrong with a body as the other faces do.
type strictJSON struct{ vanguard.JSONCodec }

// Unmarshal implements vanguard.Codec.
func (c strictJSON) Unmarshal(text []byte, m proto.Message) error {
	return malformed(c.JSONCodec.Unmarshal(text, m))
}

// UnmarshalField implements vanguard.RESTCodec.
func (c strictJSON) UnmarshalField(text []byte, m proto.Message, field protoreflect.FieldDescriptor) error {
	return malformed(c.JSONCodec.UnmarshalField(text, m, field))
}

func malformed(err error) error {
	if err == nil {
		return nil
	}
	f := face.Explain(face.Invalid("", "the body is not the JSON of this method: %s", strings.TrimPrefix(err.Error(), "proto: ")), "")
	told := connect.NewError(connect.Code(f.Code), errors.New(f.Message))
	if info, err := connect.NewErrorDetail(&errdetails.ErrorInfo{Reason: string(f.Reason), Domain: face.Domain}); err == nil {
		told.AddDetail(info)
	}
	return told
}

// body is a request's. Once it has come the deadline goes: the server reads on,
// to see when the client leaves.
type body struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// inflater reads gzip up to a bound: a message that is small on the wire may be
// meant to fill the memory.
type inflater struct {
	gzip.Reader
	most, left int64
}

var errTooLarge = errors.New("the message is too large when it is decompressed")

// Reset implements connect.Decompressor.
func (z *inflater) Reset(r io.Reader) error {
	z.left = z.most
	return z.Reader.Reset(r)
}

func (z *inflater) Read(p []byte) (int, error) {
	n, err := z.Reader.Read(p)
	if z.left -= int64(n); z.left < 0 {
		return n, connect.NewError(connect.CodeResourceExhausted, errTooLarge)
	}
	return n, err
}
