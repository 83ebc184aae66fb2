package embedded

import "syscall"

// childAttributes keep the terminal's Ctrl-C from the child, which must outlive
// the workers that write to it, and kill it when its parent is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
