// Package server is what listens: the ports, their lifecycle and the drain. It
// is handed a gRPC server and HTTP handlers that know what to answer, and
// knows none of that itself.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
)

// Config says where to listen and how to end.
type Config struct {
	// GRPC, HTTP and Admin are addresses such as 127.0.0.1:8080; port 0 picks a
	// free one. Admin is plain and meant for operators only; where it
	// is empty it is DefaultAdmin, or a free port where that is taken.
	GRPC  string
	HTTP  string
	Admin string
	// Grace is how long running calls may go on after the order to end.
	Grace time.Duration
}

// DefaultAdmin is where operators look where nothing else is said.
const DefaultAdmin = "127.0.0.1:8081"

// Server serves until it is told to end, then drains: it takes no new calls,
// lets running ones finish within the grace, and cuts off what is left.
type Server struct {
	Config Config
	GRPC   *grpc.Server
	// Web is what HTTP turns requests into calls of; it listens nowhere.
	Web   *grpc.Server
	HTTP  http.Handler
	Admin http.Handler
	// Health is what GRPC serves as its health; the drain turns it down first.
	Health *health.Server
	// Certificates are what the HTTP port speaks TLS with; nil is plain. The gRPC
	// server has its own credentials.
	Certificates *Certificates
	Log          *slog.Logger

	listeners struct{ grpc, http, admin net.Listener }
	running   sync.WaitGroup // HTTP handlers
	draining  atomic.Bool
}

// Listen takes the ports, so that a caller learns of one that is in use before
// anything is served.
func (s *Server) Listen() error {
	for _, l := range []struct {
		name, address string
		to            *net.Listener
	}{
		{"grpc", s.Config.GRPC, &s.listeners.grpc},
		{"http", s.Config.HTTP, &s.listeners.http},
		{"admin", s.Config.Admin, &s.listeners.admin},
	} {
		listener, err := listen(l.address)
		if err != nil {
			s.closeListeners()
			if errors.Is(err, syscall.EADDRINUSE) {
				return fmt.Errorf("%s address %s is in use: stop what listens there, or choose another with --%s", l.name, l.address, l.name)
			}
			return fmt.Errorf("cannot listen on %s address %q: %w: choose another with --%s", l.name, l.address, err, l.name)
		}
		*l.to = listener
	}
	return nil
}

// listen takes an address. Several Weirs on one machine are no mistake, so the
// default of the admin port gives way.
func listen(address string) (net.Listener, error) {
	if address != "" {
		return net.Listen("tcp", address)
	}
	if l, err := net.Listen("tcp", DefaultAdmin); err == nil {
		return l, nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (s *Server) closeListeners() {
	for _, l := range []net.Listener{s.listeners.grpc, s.listeners.http, s.listeners.admin} {
		if l != nil {
			l.Close()
		}
	}
}

// Addresses are where the server listens, once Listen has returned.
func (s *Server) Addresses() (grpc, http, admin string) {
	return s.listeners.grpc.Addr().String(), s.listeners.http.Addr().String(), s.listeners.admin.Addr().String()
}

// Draining tells whether the server is on its way out and takes no new calls.
func (s *Server) Draining() bool { return s.draining.Load() }

// Serve answers until the context ends and then drains. It returns when every
// call has ended.
func (s *Server) Serve(ctx context.Context) error {
	public := &http.Server{
		Handler:           s.counted(s.HTTP),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	admin := &http.Server{Handler: s.Admin, ReadHeaderTimeout: 10 * time.Second, ErrorLog: public.ErrorLog, Protocols: new(http.Protocols)}
	admin.Protocols.SetHTTP1(true)
	admin.Protocols.SetUnencryptedHTTP2(true) // gRPC's, without TLS

	failed := make(chan error, 3)
	var serving sync.WaitGroup
	for _, serve := range []func() error{
		func() error { return s.GRPC.Serve(s.listeners.grpc) },
		func() error {
			if s.Certificates == nil {
				return public.Serve(s.listeners.http)
			}
			public.TLSConfig = s.Certificates.Config("h2", "http/1.1")
			return public.ServeTLS(s.listeners.http, "", "")
		},
		func() error { return admin.Serve(s.listeners.admin) },
	} {
		serving.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				failed <- err
			}
		})
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-failed:
	}
	s.drain(public)
	admin.Close()
	serving.Wait()
	return failure
}

// drain ends both ports at once and waits for their calls.
func (s *Server) drain(public *http.Server) {
	s.draining.Store(true)
	s.Health.Shutdown()
	s.Log.Info("draining: no new calls are taken, running ones may finish", "grace", s.Config.Grace)
	grace, cancel := context.WithTimeout(context.Background(), s.Config.Grace)
	defer cancel()

	var both sync.WaitGroup
	both.Go(func() {
		done := make(chan struct{})
		go func() { s.GRPC.GracefulStop(); close(done) }()
		select {
		case <-done:
		case <-grace.Done():
			s.Log.Warn("grace is over: the gRPC calls that are left are cut off and settled")
			s.GRPC.Stop()
			<-done
		}
	})
	both.Go(func() {
		if err := public.Shutdown(grace); err != nil {
			s.Log.Warn("grace is over: the HTTP calls that are left are cut off and settled")
			public.Close()
		}
		s.running.Wait()
		s.Web.Stop() // waits for calls that settle after their request has gone
	})
	both.Wait()
}

// counted lets the drain wait for handlers that were cut off: they still have
// to settle.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.running.Add(1)
		defer s.running.Done()
		next.ServeHTTP(w, r)
	})
}
