package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ConntrackDrops is how many packets the kernel's conntrack has dropped, of all of the host's, because it could not
// remember their connections: no port was free to translate them to, or its table is full.
func ConntrackDrops() (uint64, error) {
	text, err := os.ReadFile("/proc/net/stat/nf_conntrack")
	if errors.Is(err, fs.ErrNotExist) { // it is not loaded, or the kernel does not tell
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return parseDrops(string(text))
}

// parseDrops reads a line for each processor, of numbers in hexadecimal, below one of the names of what they count.
func parseDrops(statistics string) (sum uint64, err error) {
	names, lines, _ := strings.Cut(statistics, "\n")
	column := slices.Index(strings.Fields(names), "drop")
	for line := range strings.Lines(lines) {
		fields := strings.Fields(line)
		if column < 0 || column >= len(fields) {
			return 0, fmt.Errorf("conntrack's statistics do not count drops: %q", names)
		}
		n, err := strconv.ParseUint(fields[column], 16, 64)
		if err != nil {
			return 0, fmt.Errorf("conntrack's statistics: %w", err)
		}
		sum += n
	}
	return sum, nil
}
