package embedded

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// The queue's scripts need the ZRANGE of Redis 6.2. Every Valkey has it.
const leastMajor, leastMinor = 6, 2

var versionPattern = regexp.MustCompile(`\bv=(\d+)\.(\d+)\.\d+`)

// checkVersion refuses a program that is too old. One that does not say what it
// is gets the benefit of the doubt.
func checkVersion(ctx context.Context, program string) error {
	text, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", program, err)
	}
	found := versionPattern.FindSubmatch(text)
	if found == nil {
		return nil
	}
	major, _ := strconv.Atoi(string(found[1]))
	minor, _ := strconv.Atoi(string(found[2]))
	if major < leastMajor || major == leastMajor && minor < leastMinor {
		return fmt.Errorf("%s is version %d.%d, and %d.%d or later is needed", program, major, minor, leastMajor, leastMinor)
	}
	return nil
}
