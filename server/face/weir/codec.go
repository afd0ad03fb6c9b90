package weir

import (
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// Codec is gRPC's own for proto, but for pieces of text, of which streams consist:
// it writes them itself, in a quarter of the time. It is safe for concurrent use.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if event, is := v.(*weirv1.StreamGenerateResponse); is {
		if wire := textWire(event); wire != nil {
			return mem.BufferSlice{mem.SliceBuffer(wire)}, nil
		}
	}
	return c.CodecV2.Marshal(v)
}

// The fields of weir.v1 that an event of text has.
const (
	sequenceField       = 1 // of StreamGenerateResponse
	deltaField          = 3
	candidateIndexField = 1 // of DeltaEvent
	textField           = 2
)

// textWire is an event on the wire that has text and nothing beside it; nil is any other.
func textWire(event *weirv1.StreamGenerateResponse) []byte {
	delta := event.GetDelta()
	piece, is := delta.GetPiece().(*weirv1.DeltaEvent_Text)
	if !is || piece == nil || len(delta.Logprobs) > 0 || !utf8.ValidString(piece.Text) ||
		len(event.ProtoReflect().GetUnknown())+len(delta.ProtoReflect().GetUnknown()) > 0 {
		return nil
	}
	inner := protowire.SizeTag(textField) + protowire.SizeBytes(len(piece.Text))
	index := uint64(delta.CandidateIndex) // a negative one fills all 64 bits
	if index != 0 {
		inner += protowire.SizeTag(candidateIndexField) + protowire.SizeVarint(index)
	}
	outer := protowire.SizeTag(deltaField) + protowire.SizeBytes(inner)
	sequence := uint64(event.Sequence)
	if sequence != 0 {
		outer += protowire.SizeTag(sequenceField) + protowire.SizeVarint(sequence)
	}
	b := make([]byte, 0, outer)
	if sequence != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, sequenceField, protowire.VarintType), sequence)
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, deltaField, protowire.BytesType), uint64(inner))
	if index != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, candidateIndexField, protowire.VarintType), index)
	}
	return protowire.AppendString(protowire.AppendTag(b, textField, protowire.BytesType), piece.Text)
}
