package oip

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weir-gateway/weir/gen/inference"
)

const bytesType = "BYTES"

// write makes a tensor of a text, texts, a truth or a number. It has as many
// dimensions as the model wants, all of one but the last.
func write(t *tensorMetadata, v any) (*inference.ModelInferRequest_InferInputTensor, error) {
	shape := make([]int64, max(1, len(t.GetShape())))
	for i := range shape {
		shape[i] = 1
	}
	c := &inference.InferTensorContents{}
	fits := false
	switch v := v.(type) {
	case string:
		c.BytesContents, fits = [][]byte{[]byte(v)}, t.GetDatatype() == bytesType
	case []string:
		for _, s := range v {
			c.BytesContents = append(c.BytesContents, []byte(s))
		}
		shape[len(shape)-1], fits = int64(len(v)), t.GetDatatype() == bytesType
	case bool:
		c.BoolContents, fits = []bool{v}, t.GetDatatype() == "BOOL"
	case int:
		fits = number(c, t.GetDatatype(), float64(v), int64(v))
	case int64:
		fits = number(c, t.GetDatatype(), float64(v), v)
	case float64:
		fits = number(c, t.GetDatatype(), v, int64(v)) && (math.Trunc(v) == v || c.Fp32Contents != nil || c.Fp64Contents != nil)
	}
	if !fits {
		return nil, fmt.Errorf("tensor %s is %s, which cannot hold %v", t.GetName(), t.GetDatatype(), v)
	}
	return &inference.ModelInferRequest_InferInputTensor{Name: t.GetName(), Datatype: t.GetDatatype(), Shape: shape, Contents: c}, nil
}

// number puts a number where its datatype has it, and tells whether it fits.
func number(c *inference.InferTensorContents, datatype string, f float64, i int64) bool {
	within := func(least, most int64) bool { return i >= least && i <= most }
	switch datatype {
	case "FP32":
		c.Fp32Contents = []float32{float32(f)}
		return true
	case "FP64":
		c.Fp64Contents = []float64{f}
		return true
	case "INT64":
		c.Int64Contents = []int64{i}
		return true
	case "UINT64":
		c.Uint64Contents = []uint64{uint64(i)}
		return i >= 0
	case "INT32":
		c.IntContents = []int32{int32(i)}
		return within(math.MinInt32, math.MaxInt32)
	case "UINT32":
		c.UintContents = []uint32{uint32(i)}
		return within(0, math.MaxUint32)
	}
	return false
}

// An output is one tensor of a response.
type output struct {
	*inference.ModelInferResponse_InferOutputTensor
	isRaw bool
	raw   []byte // in the place of contents
}

// find is the output of a name, or the only one of the datatype where one is
// given. It is nil where there is neither.
func find(r *inference.ModelInferResponse, name, datatype string) (*output, error) {
	outputs, raw := r.GetOutputs(), r.GetRawOutputContents()
	if len(raw) > 0 && len(raw) != len(outputs) {
		return nil, fmt.Errorf("%d tensors came with the contents of %d", len(outputs), len(raw))
	}
	at := -1
	for i, o := range outputs {
		if o.GetName() == name {
			at = i
			break
		}
		if datatype != "" && o.GetDatatype() == datatype {
			if at >= 0 {
				datatype, at = "", -1 // there are several, and none of the name so far
				continue
			}
			at = i
		}
	}
	if at < 0 {
		return nil, nil
	}
	out := &output{ModelInferResponse_InferOutputTensor: outputs[at]}
	if len(raw) > 0 {
		out.isRaw, out.raw = true, raw[at]
	}
	return out, nil
}

func (o *output) bad(format string, args ...any) error {
	return fmt.Errorf("tensor %s of %s %s", o.GetName(), o.GetDatatype(), fmt.Sprintf(format, args...))
}

// texts are the elements of BYTES. They are not copied.
func (o *output) texts() ([][]byte, error) {
	if o.GetDatatype() != bytesType {
		return nil, o.bad("is no text")
	}
	if !o.isRaw {
		return o.GetContents().GetBytesContents(), nil
	}
	var all [][]byte
	for raw := o.raw; len(raw) > 0; {
		if len(raw) < 4 {
			return nil, o.bad("ends within a length")
		}
		n := uint64(binary.LittleEndian.Uint32(raw))
		raw = raw[4:]
		if n > uint64(len(raw)) {
			return nil, o.bad("ends within an element")
		}
		all, raw = append(all, raw[:n]), raw[n:]
	}
	return all, nil
}

// floats are the elements of FP32 or FP64.
func (o *output) floats() ([]float32, error) {
	var all []float32
	switch o.GetDatatype() {
	case "FP32":
		if !o.isRaw {
			return o.GetContents().GetFp32Contents(), nil
		}
		err := o.each(4, func(b []byte) { all = append(all, math.Float32frombits(binary.LittleEndian.Uint32(b))) })
		return all, err
	case "FP64":
		for _, f := range o.GetContents().GetFp64Contents() {
			all = append(all, float32(f))
		}
		err := o.each(8, func(b []byte) { all = append(all, float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))) })
		return all, err
	}
	return nil, o.bad("is no FP32 and no FP64")
}

// count is the first element of a tensor of whole numbers that has one, and
// whether it has.
func (o *output) count() (n int64, known bool, err error) {
	take := func(i int64) {
		if !known {
			n, known = i, true
		}
	}
	c := o.GetContents()
	for _, i := range c.GetIntContents() {
		take(int64(i))
	}
	for _, i := range c.GetUintContents() {
		take(int64(i))
	}
	for _, i := range c.GetInt64Contents() {
		take(i)
	}
	for _, i := range c.GetUint64Contents() {
		take(int64(min(i, math.MaxInt64)))
	}
	switch o.GetDatatype() {
	case "INT32":
		err = o.each(4, func(b []byte) { take(int64(int32(binary.LittleEndian.Uint32(b)))) })
	case "UINT32":
		err = o.each(4, func(b []byte) { take(int64(binary.LittleEndian.Uint32(b))) })
	case "INT64":
		err = o.each(8, func(b []byte) { take(int64(binary.LittleEndian.Uint64(b))) })
	case "UINT64":
		err = o.each(8, func(b []byte) { take(int64(min(binary.LittleEndian.Uint64(b), math.MaxInt64))) })
	default:
		err = o.bad("is no count")
	}
	if err == nil && n < 0 {
		err = o.bad("is negative")
	}
	return n, known, err
}

// each hands out the raw elements of a size.
func (o *output) each(size int, f func([]byte)) error {
	if len(o.raw)%size != 0 {
		return o.bad("has %d bytes, which are no whole elements", len(o.raw))
	}
	for raw := o.raw; len(raw) > 0; raw = raw[size:] {
		f(raw)
	}
	return nil
}
