package idempotency

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Spell writes what a request says in one way: each field that is not zero,
// with its name, and each length before what is so long. A field that a newer
// Weir adds, and that the request does not use, changes nothing, so that a call
// may be repeated while Weir is upgraded. It takes what is made of structs,
// pointers, slices, maps with keys of text, texts, numbers and truths, and
// panics at anything else, which is a mistake of the program.
func Spell(v any) []byte { return spell(nil, reflect.ValueOf(v)) }

func spell(b []byte, v reflect.Value) []byte {
	size := func(n int) { b = binary.AppendUvarint(b, uint64(n)) }
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0)
		}
		return spell(append(b, 1), v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				name := v.Type().Field(i).Name
				size(len(name))
				b = spell(append(b, name...), f)
			}
		}
		return append(b, 0) // no name is empty
	case reflect.Slice:
		size(v.Len())
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...)
		}
		for i := range v.Len() {
			b = spell(b, v.Index(i))
		}
		return b
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
		size(len(keys))
		for _, k := range keys {
			b = spell(spell(b, k), v.MapIndex(k))
		}
		return b
	case reflect.String:
		size(v.Len())
		return append(b, v.String()...)
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.Float32, reflect.Float64:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v.Float()))
	}
	panic(fmt.Sprintf("a request holds a %s, which cannot be spelled", v.Type()))
}
