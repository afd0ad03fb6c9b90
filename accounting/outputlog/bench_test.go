package outputlog_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/outputlog"
)

// BenchmarkRecord is what a call waits for, the queue being full in the end.
func BenchmarkRecord(b *testing.B) {
	l := outputlog.New(nil, nil, func(outputlog.Fate, int) {}, slog.Default(), time.Now)
	r := talk(outputlog.ModeMetadata)
	b.ReportAllocs()
	for b.Loop() {
		l.Record(r)
	}
}

// BenchmarkRedact is what the writer does to a record of 4 KiB of prose, beside
// writing it.
func BenchmarkRedact(b *testing.B) {
	redactor := newRedactor(b)
	prose := strings.Repeat("The river is calm today, and nobody counts what passes. ", 73)
	for _, mode := range []string{outputlog.ModeMetadata, outputlog.ModeRedacted, outputlog.ModeFull} {
		b.Run(mode, func(b *testing.B) {
			r := outputlog.Record{RequestID: "r", Mode: mode, Messages: []outputlog.Message{{Role: "user", Parts: []outputlog.Part{{Channel: "content", Text: prose}}}}}
			b.ReportAllocs()
			b.SetBytes(int64(len(prose)))
			for b.Loop() {
				redactor.Redact(r)
			}
		})
	}
}
