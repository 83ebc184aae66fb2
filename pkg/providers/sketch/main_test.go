package sketch_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing of this package may run on once it was closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
