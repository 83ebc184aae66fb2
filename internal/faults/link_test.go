package faults

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// link carries connections to whichever address is behind it at the moment, and
// breaks them on demand: at once, or in the worst moment, when the other side has
// carried out what it was asked and its answer is on the way.
type link struct {
	listener net.Listener
	backends atomic.Pointer[[]string]
	next     atomic.Int64

	mu    sync.Mutex
	pairs map[*pair]struct{}
	ended sync.WaitGroup

	cut  atomic.Int64 // connections that were broken at once
	lost atomic.Int64 // answers that were swallowed
}

// pair is one connection through a link.
type pair struct {
	near, far net.Conn
	doomed    atomic.Bool // the next answer is swallowed
}

func newLink(t *testing.T, backends ...string) *link {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &link{listener: listener, pairs: map[*pair]struct{}{}}
	l.lead(backends...)
	l.ended.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			l.ended.Go(func() { l.carry(near) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.breakSome(nil, -1, false)
		l.ended.Wait()
	})
	return l
}

func (l *link) address() string { return l.listener.Addr().String() }

// lead makes new connections go to these addresses in turn.
func (l *link) lead(backends ...string) { l.backends.Store(&backends) }

// carry passes bytes on until either side hangs up. A backend that cannot be
// reached is passed over for the next one.
func (l *link) carry(near net.Conn) {
	defer near.Close()
	backends := *l.backends.Load()
	for range backends {
		far, err := net.Dial("tcp", backends[int(l.next.Add(1))%len(backends)])
		if err != nil {
			continue
		}
		l.pump(&pair{near: near, far: far})
		return
	}
}

func (l *link) pump(p *pair) {
	l.mu.Lock()
	l.pairs[p] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.pairs, p)
	}()
	var asking sync.WaitGroup
	asking.Go(func() { p.pass(p.near, p.far, func() bool { return true }) })
	p.pass(p.far, p.near, func() bool {
		if p.doomed.Load() {
			l.lost.Add(1)
			return false
		}
		return true
	})
	asking.Wait()
}

// pass copies until an end or until it may not, and hangs up on both sides.
func (p *pair) pass(from, to net.Conn, may func() bool) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && may() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		} else if n > 0 {
			return
		}
		if err != nil {
			return
		}
	}
}

// breakSome breaks n connections that chance picks, all when n is negative:
// late ones when their next answer has come.
func (l *link) breakSome(chance *rand.Rand, n int, late bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := make([]*pair, 0, len(l.pairs))
	for p := range l.pairs {
		open = append(open, p)
	}
	if chance != nil {
		chance.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	}
	if n < 0 {
		n = len(open)
	}
	for _, p := range open[:min(n, len(open))] {
		if late {
			p.doomed.Store(true)
			continue
		}
		l.cut.Add(1)
		_ = p.near.Close()
		_ = p.far.Close()
	}
}
