package intercept

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/face"
)

// flood sends until it cannot. A reader that stalls fills the flow-control
// window, and then nothing of the handler's can wake it but the chain.
func flood(s grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	big := &weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: &weirv1.DeltaEvent{Piece: &weirv1.DeltaEvent_Text{Text: strings.Repeat("长", 1<<16)}}}}
	for {
		if err := s.Send(big); err != nil {
			return context.Cause(s.Context())
		}
	}
}

func TestAReaderThatStallsEnds(t *testing.T) {
	for _, c := range []struct {
		name         string
		most, stall  time.Duration
		code, reason string
	}{
		{"by the bound of the call", 200 * time.Millisecond, 0, "DeadlineExceeded", "DEADLINE_EXCEEDED"},
		{"by the bound of a write", 0, 50 * time.Millisecond, "Canceled", "READER_STALLED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain, log, _ := newChain(t)
			chain.MaxDuration, chain.StallTimeout = c.most, c.stall
			client := weirv1.NewGenerationServiceClient(serve(t, chain, &generation{stream: flood}))
			stream, err := client.StreamGenerate(with(t.Context(), "x-api-key", secret), &weirv1.GenerateRequest{})
			if err != nil {
				t.Fatal(err)
			}
			line := log.last(t) // without the bound there is never a line
			if line["code"] != c.code || line["reason"] != c.reason {
				t.Errorf("line is %v", line)
			}
			if c.stall == 0 {
				return
			}
			for err == nil { // who reads on after all is told
				_, err = stream.Recv()
			}
			code, reason, _ := reasonOf(t, err)
			if code != codes.Canceled || reason != c.reason || !strings.Contains(err.Error(), "not read for 50ms") {
				t.Errorf("told %v", err)
			}
		})
	}
}

// A stream that is slow since the model is, or that is read bit by bit, goes on.
func TestASlowStreamIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &Chain{StallTimeout: time.Minute}
		var stalls atomic.Int32
		w := chain.watch(func(error) { stalls.Add(1) })
		writer := &watchedWriter{httptest.NewRecorder(), w}
		for range 20 {
			time.Sleep(10 * time.Minute) // the model thinks
			writer.Write([]byte("piece"))
		}
		slow := &watchedWriter{slowWriter{httptest.NewRecorder(), 59 * time.Second}, w}
		for range 20 {
			slow.Write([]byte("piece"))
		}
		if stalls.Load() != 0 {
			t.Error("a reader that reads was ended")
		}
		w.stop()
		time.Sleep(time.Hour)
		if stalls.Load() != 0 {
			t.Error("a call that is over was ended")
		}
	})
}

// The bound is what it says, and a quarter more at most.
func TestAStallEndsInTime(t *testing.T) {
	for _, before := range []time.Duration{0, 7 * time.Second, 14999 * time.Millisecond, 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			chain := &Chain{StallTimeout: time.Minute}
			ended := make(chan error, 1)
			w := chain.watch(func(why error) { ended <- why })
			defer w.stop()
			time.Sleep(before)
			w.writes.Add(1) // a write that never returns
			start := time.Now()
			var why *face.StalledError
			if err := <-ended; !errors.As(err, &why) {
				t.Error(err)
			}
			if took := time.Since(start); took < time.Minute || took > 75*time.Second {
				t.Errorf("ended after %s", took)
			}
		})
	}
}

type slowWriter struct {
	*httptest.ResponseRecorder
	takes time.Duration
}

func (w slowWriter) Write(b []byte) (int, error) {
	time.Sleep(w.takes)
	return w.ResponseRecorder.Write(b)
}

func TestAReaderOverHTTPThatStallsEnds(t *testing.T) {
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			chain, log, _ := newChain(t)
			chain.StallTimeout = 50 * time.Millisecond
			cause := make(chan error, 1)
			server := httptest.NewUnstartedServer(chain.HTTP(tellPlain)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				piece, control := []byte(strings.Repeat("长", 1<<16)), http.NewResponseController(w)
				for {
					if _, err := w.Write(piece); err != nil {
						break
					}
					if err := control.Flush(); err != nil {
						break
					}
				}
				<-r.Context().Done()
				cause <- context.Cause(r.Context())
			})))
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			pool := x509.NewCertPool()
			pool.AddCert(server.Certificate())
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, NextProtos: []string{proto}}, ForceAttemptHTTP2: proto == "h2"}
			defer transport.CloseIdleConnections()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			req.Header.Set("x-api-key", secret)
			answer, err := (&http.Client{Transport: transport}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			var why *face.StalledError
			if err := <-cause; !errors.As(err, &why) { // without the bound there is never one
				t.Errorf("the context ended with %v", err)
			}
			if line := log.last(t); line["reason"] != "READER_STALLED" {
				t.Errorf("line is %v", line)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err == nil {
				t.Error("the answer looks whole")
			}
		})
	}
}

// What is left in net/http's buffers when a handler returns is bounded as well.
func TestTheLastBytesAreBounded(t *testing.T) {
	chain, log, _ := newChain(t)
	chain.StallTimeout = 50 * time.Millisecond
	ended := make(chan struct{})
	server := httptest.NewUnstartedServer(chain.HTTP(tellPlain)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("bytes")) })))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(ended)
		}
	}
	near, far := net.Pipe() // has no buffer at all
	defer near.Close()
	server.Listener.Close()
	server.Listener = &oneConn{conn: far, closed: make(chan struct{})}
	server.Start()
	defer server.Close()
	if _, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: weir\r\nX-Api-Key: "+secret+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	log.last(t)
	<-ended // never, without the bound
}

// oneConn is a listener of one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func BenchmarkWatchedWrite(b *testing.B) {
	chain := &Chain{StallTimeout: time.Minute}
	w := &watchedWriter{discard{}, chain.watch(func(error) {})}
	defer w.watch.stop()
	piece := []byte("piece")
	b.ReportAllocs()
	for b.Loop() {
		w.Write(piece)
	}
}

type discard struct{ http.ResponseWriter }

func (discard) Write(b []byte) (int, error) { return len(b), nil }
