//go:build unix && !linux

package embedded

import "syscall"

// childAttributes keep the terminal's Ctrl-C from the child, which must outlive
// the workers that write to it. A child whose parent was killed goes on here
// until the next start stops it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
