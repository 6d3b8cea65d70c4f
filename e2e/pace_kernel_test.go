//go:build kernel

package e2e

// pace is how much slower than on the machine itself what goes on during a test is sent: all hosts of a lab share one
// emulated processor.
const pace = 10
