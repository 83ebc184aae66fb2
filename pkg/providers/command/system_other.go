//go:build unix && !linux

package command

import (
	"os/exec"
	"syscall"
)

// canLimitMemory says whether a process can be held to its address space.
const canLimitMemory = false

// begin starts the program in a group of its own. One whose worker was killed
// goes on here until it ends by itself.
func begin(cmd *exec.Cmd, _ Generator) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

// reap waits for the end of the program and kills what is left of its group.
func reap(cmd *exec.Cmd) error {
	err := cmd.Wait()
	killGroup(cmd.Process.Pid)
	return err
}

func bootID() string { return "" }

// processesOf would list the processes of a run; here nobody tells their
// environment, and the mark's lock has to do.
func processesOf(string) []int { return nil }
