//go:build torture

package torture

import (
	"net"
	"sync"
	"testing"
)

// proxy stands between one replica and PostgreSQL. It can be cut, as by a
// firewall that refuses, and it can be mute, as a network that loses packets:
// then everything stays open and nothing arrives.
type proxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	moved sync.Cond
	off   bool
	muted bool
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
	p.moved.L = &p.mu
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
	p.off, p.muted = off, false
	p.moved.Broadcast()
	if off {
		for a, b := range p.pairs {
			a.Close()
			b.Close()
		}
	}
}

// mute holds back what is said until the next cut.
func (p *proxy) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muted = true
}

// pass carries what one side says to the other.
func (p *proxy) pass(to, from net.Conn) {
	said := make([]byte, 32<<10)
	for {
		n, err := from.Read(said)
		p.mu.Lock()
		for p.muted {
			p.moved.Wait()
		}
		p.mu.Unlock()
		if _, e := to.Write(said[:n]); err != nil || e != nil {
			return
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
		p.pass(near, far)
		near.Close()
	})
	p.pass(far, near)
	far.Close()
	back.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, near)
}
