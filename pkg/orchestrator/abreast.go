package orchestrator

import "sync"

// abreast does something with every item, at most so many of them at a time,
// and returns when all is done. A single one is done by the caller itself.
func abreast[T any](most int, items []T, do func(T)) {
	if len(items) == 1 {
		do(items[0])
		return
	}
	var running sync.WaitGroup
	gate := make(chan struct{}, most)
	for _, item := range items {
		gate <- struct{}{}
		running.Go(func() {
			defer func() { <-gate }()
			do(item)
		})
	}
	running.Wait()
}
