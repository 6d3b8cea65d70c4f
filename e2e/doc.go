// Package e2e tests Overlane from outside: real hosts of a lab, real Open vSwitch and Docker, real packets, and the
// command line. It holds tests only, and nothing imports it.
package e2e
