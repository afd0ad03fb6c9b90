package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// serveGRPCProxy passes every call on as it is, and nothing more: what grpc-go
// costs by itself.
func serveGRPCProxy(backend string) error {
	conn, err := grpc.NewClient(backend, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesAsTheyAre{})))
	if err != nil {
		return err
	}
	relay := func(_ any, down grpc.ServerStream) error {
		method, ok := grpc.MethodFromServerStream(down)
		if !ok {
			return status.Error(codes.Internal, "a call without a method")
		}
		ctx := down.Context()
		if md, ok := metadata.FromIncomingContext(ctx); ok {
			ctx = metadata.NewOutgoingContext(ctx, md)
		}
		up, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
		if err != nil {
			return err
		}
		var request mem.BufferSlice
		if err := down.RecvMsg(&request); err != nil {
			return err
		}
		if err := up.SendMsg(&request); err != nil {
			return err
		}
		if err := up.CloseSend(); err != nil {
			return err
		}
		for {
			var answer mem.BufferSlice
			switch err := up.RecvMsg(&answer); {
			case errors.Is(err, io.EOF):
				down.SetTrailer(up.Trailer())
				return nil
			case err != nil:
				return err
			}
			if err := down.SendMsg(&answer); err != nil {
				return err
			}
		}
	}
	return serve(grpc.NewServer(grpc.UnknownServiceHandler(relay), grpc.ForceServerCodecV2(bytesAsTheyAre{}), grpc.MaxConcurrentStreams(1<<20)), nil)
}

// bytesAsTheyAre is a codec that decodes nothing.
type bytesAsTheyAre struct{}

var _ encoding.CodecV2 = bytesAsTheyAre{}

func (bytesAsTheyAre) Name() string { return "proto" }

func (bytesAsTheyAre) Marshal(v any) (mem.BufferSlice, error) { return *v.(*mem.BufferSlice), nil }

func (bytesAsTheyAre) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

// serveHTTPProxy is the standard library's reverse proxy, which sends each
// piece on at once.
func serveHTTPProxy(backend string) error {
	target := &url.URL{Scheme: "http", Host: backend}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Transport: pooled(), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	return serve(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Read first: an answer that overtakes its request breaks the call now and then.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
}
