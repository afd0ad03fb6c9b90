package main

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	faceweir "github.com/weir-gateway/weir/server/face/weir"
)

// What the gRPC port takes. The generous ones are what real clients need, the
// others are bounds on what a stranger can hold.
const (
	maxMessage    = 32 << 20
	maxHeaderList = 64 << 10 // 32 labels of 128 characters fit, whatever their script
	maxStreams    = 1000     // of one connection; clients wait, or open another
	handshakeTime = 20 * time.Second
	// workers are goroutines that serve one call after another: the stack of a new
	// one grows several times until it fits a call. Calls that find none free get
	// goroutines of their own.
	workers = 64
	// minPing is how often a client may ask whether the connection lives. Some
	// do every 30 s without a call, which grpc-go's default answers with GOAWAY.
	minPing = 10 * time.Second
	// pingAfter is how long a connection may be silent before it is asked
	// whether it lives: one whose other end has vanished holds its calls.
	pingAfter = time.Minute
)

// longest is what a call can take, and its reader with the rest of the answer.
func (c *Config) longest() time.Duration {
	return time.Duration(c.MaxDuration) + time.Duration(c.StallTimeout)
}

// transport is how the gRPC port treats connections.
func (c *Config) transport() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.WaitForHandlers(true), // a call that is cut off still settles
		grpc.ForceServerCodecV2(faceweir.Codec()),
		grpc.NumStreamWorkers(workers),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time:             pingAfter,
			MaxConnectionAge: time.Duration(c.GRPC.MaxConnectionAge), // spread by a tenth, so that not all go at once
			// A call that runs may end first.
			MaxConnectionAgeGrace: c.longest(),
		}),
	}
}
