package flowtest

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/gopacket/gopacket/pcapgo"
)

// readPcap reads the packets of a file that is still being written; one that is not there whole is left for the next
// time.
func readPcap(file string) ([][]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r, err := pcapgo.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var frames [][]byte
	for {
		frame, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
}
