package httpapi

import (
	"sync"
	"sync/atomic"
)

// crowd bounds how many of something there are at a time. One tenant alone gets
// three quarters of the room at most, so that there is some left for the others
// whatever it does.
type crowd struct {
	room int

	mu   sync.Mutex
	all  int
	held map[string]int // by tenant
}

func newCrowd(room int) *crowd { return &crowd{room: room, held: map[string]int{}} }

// take reports whether there was room; whoever took gives back.
func (c *crowd) take(tenant string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.room || c.held[tenant] >= c.room-c.room/4 {
		return false
	}
	c.all++
	c.held[tenant]++
	return true
}

func (c *crowd) give(tenant string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.held[tenant]--; c.held[tenant] == 0 {
		delete(c.held, tenant)
	}
}

// count is how many there are.
func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// memory bounds what all bodies that are being read and worked on hold together.
type memory struct {
	limit int64
	held  atomic.Int64
}

// take reports whether there is room for n bytes more.
func (m *memory) take(n int64) bool {
	if m.held.Add(n) > m.limit {
		m.held.Add(-n)
		return false
	}
	return true
}

func (m *memory) give(n int64) { m.held.Add(-n) }
