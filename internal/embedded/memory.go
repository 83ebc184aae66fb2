package embedded

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// memory is a Redis inside this process. It keeps nothing.
type memory struct {
	redis   *miniredis.Miniredis
	address string
	why     string // there is nothing better

	quit    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

func startMemory(password, why string) (*memory, error) {
	m := &memory{redis: miniredis.NewMiniRedis(), why: why, quit: make(chan struct{}), stopped: make(chan struct{})}
	m.redis.RequireAuth(password)
	if err := m.redis.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	m.address = m.redis.Addr()
	go m.passTime()
	return m, nil
}

// passTime lets keys expire: in-process Redis ages only when it is told to.
func (m *memory) passTime() {
	defer close(m.stopped)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.redis.FastForward(time.Second)
		case <-m.quit:
			m.redis.Close()
			return
		}
	}
}

func (m *memory) durable() bool { return false }

func (m *memory) describe() string {
	return "redis inside this process: jobs will not survive its exit, since " + m.why
}

func (m *memory) ended() <-chan struct{} { return m.stopped }

func (m *memory) end() error {
	m.once.Do(func() { close(m.quit) })
	<-m.stopped
	return nil
}
