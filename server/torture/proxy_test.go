//go:build torture

package torture

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between one replica and PostgreSQL, and can be cut.
type proxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	off   bool
	pairs map[net.Conn]net.Conn
	all   sync.WaitGroup
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, pairs: map[net.Conn]net.Conn{}}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.cut(true)
		p.all.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// cut drops all connections and takes no new one, or takes them again.
func (p *proxy) cut(off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = off
	if off {
		for a, b := range p.pairs {
			a.Close()
			b.Close()
		}
	}
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.join(near) })
	}
}

func (p *proxy) join(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer far.Close()
	p.mu.Lock()
	off := p.off
	if !off {
		p.pairs[near] = far
	}
	p.mu.Unlock()
	if off {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(near, far)
		near.Close()
	})
	io.Copy(far, near)
	far.Close()
	back.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, near)
}
