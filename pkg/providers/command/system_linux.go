package command

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// canLimitMemory says whether a process can be held to its address space.
const canLimitMemory = true

// begin starts the program in a group of its own, killed when the worker is
// killed, and within its bounds. So that no child of its can come before them it
// is stopped at its first instruction, as a debugger does, while they are set.
// The calling goroutine stays on its thread.
func begin(cmd *exec.Cmd, c Generator) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: true}
	err := cmd.Start()
	if errors.Is(err, unix.EPERM) && c.MemoryLimit == 0 {
		// A system that forbids this; the other bounds may come a moment late.
		cmd.SysProcAttr.Ptrace = false
		if err = cmd.Start(); err == nil {
			limit(cmd.Process.Pid, c)
		}
		return err
	}
	if err != nil {
		return err
	}
	pid := cmd.Process.Pid
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	limit(pid, c)
	_ = unix.PtraceDetach(pid) // one that is dead already is waited for
	return nil
}

// reap waits for the end of the program, kills what is left of its group, and
// only then gives back the number that the group is called by.
func reap(cmd *exec.Cmd) error {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	killGroup(cmd.Process.Pid)
	return cmd.Wait()
}

// limit bounds a program: its memory, the size of what it
// writes, and no core dumps. Its children inherit it.
func limit(pid int, c Generator) {
	set := func(resource int, value uint64) {
		// A program that has ended already needs no bounds.
		_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil)
	}
	set(unix.RLIMIT_CORE, 0)
	set(unix.RLIMIT_FSIZE, uint64(c.MaxOutputBytes)+1)
	if c.MemoryLimit > 0 {
		set(unix.RLIMIT_AS, uint64(c.MemoryLimit))
	}
}

// bootID is the kernel's name for this run of it, the same in all containers.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it the host's name has to do
	return strings.TrimSpace(string(id))
}

// processesOf lists the living processes of a run, by the environment that they
// have inherited.
func processesOf(dir string) []int {
	entries, _ := os.ReadDir("/proc") // without it there is nothing to list
	want := []byte(runVariable + "=" + dir)
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile("/proc/" + entry.Name() + "/environ")
		if err != nil {
			continue // ended, or another user's
		}
		for variable := range bytes.SplitSeq(raw, []byte{0}) {
			if bytes.Equal(variable, want) {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}
