//go:build !kernel

package e2e

// pace is how much slower than here what goes on during a test is sent.
const pace = 1
