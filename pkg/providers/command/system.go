package command

import (
	"io/fs"
	"syscall"
)

// killGroup kills the program and all that it has started and that has not left
// its group. The program has not been waited for yet, so the number is its own.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // one that is empty is what we want

// killAll kills processes that have left their group.
func killAll(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// links is how many names a file has.
func links(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink) //nolint:unconvert // its type differs between systems
	}
	return 1
}
