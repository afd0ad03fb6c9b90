// Command vocabularies packs OpenAI's vocabularies for server/tokens/bpe, from
// the npm package tiktoken (MIT), which carries them:
//
//	vocabularies FOLDER-OF-THE-PACKAGE OUT-FOLDER
package main

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: vocabularies FOLDER-OF-THE-PACKAGE OUT-FOLDER"))
	}
	for _, name := range []string{"cl100k", "o200k"} {
		if err := pack(filepath.Join(os.Args[1], "encoders", name+"_base.json"), filepath.Join(os.Args[2], name+".gz")); err != nil {
			fail(fmt.Errorf("%s: %w", name, err))
		}
	}
}

func pack(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var encoder struct {
		Ranks string `json:"bpe_ranks"`
	}
	if err := json.Unmarshal(data, &encoder); err != nil {
		return err
	}
	var lengths, text []byte
	for line := range strings.Lines(encoder.Ranks) { // "! RANK TOKEN TOKEN…", in base64
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return fmt.Errorf("a line of ranks has %d fields, not at least 3", len(fields))
		}
		if first, err := strconv.Atoi(fields[1]); err != nil || first != len(lengths) {
			return fmt.Errorf("ranks go on with %s after %d tokens", fields[1], len(lengths))
		}
		for _, field := range fields[2:] {
			token, err := base64.StdEncoding.DecodeString(field)
			if err != nil || len(token) == 0 || len(token) > 255 {
				return fmt.Errorf("token %d, %q, is not one", len(lengths), field)
			}
			lengths = append(lengths, byte(len(token)))
			text = append(text, token...)
		}
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	packed := binary.BigEndian.AppendUint32(nil, uint32(len(lengths)))
	packed = append(append(packed, lengths...), text...)
	if _, err := z.Write(packed); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return out.Close()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "vocabularies:", err)
	os.Exit(1)
}
