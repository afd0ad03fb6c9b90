package policy

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Decode reads a node strictly into the value that into points to, by the yaml
// tags of its fields. It is how every kind of document is read.
//
// A field that is unknown, given twice, or of another type is a problem with
// its line and its path; all problems are returned at once, as [Problems], and
// what could be read has been. A null leaves the value as it was, so a default
// that was set before stays. Text is never taken for a number, nor a number for
// text: `name: 10` says to quote it. Types with UnmarshalYAML(*yaml.Node) or
// UnmarshalText read themselves (the latter from the scalar as it is written,
// so an amount never passes through a float); a time.Duration is text such as
// 90s or 183d; a yaml.Node or *yaml.Node is left raw. Embedded structs marked
// inline share their parent's fields. Aliases and merge keys are
// refused: a document says what it means where it means it.
//
// Decode panics when into is not a pointer to something it can fill: that is an
// error of the program, not of the document.
func Decode(node *yaml.Node, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("policy: Decode into %T, which is not a pointer", into))
	}
	var d decoder
	if node == nil || node.IsZero() {
		return Problems{{Message: "the document is empty"}}
	}
	if node.Kind == yaml.DocumentNode {
		node = node.Content[0]
	}
	// The value itself may be custom; a caller inside its UnmarshalYAML converts
	// to a plain type first, as with the yaml package.
	d.value(node, v.Elem(), nil)
	return d.problems.Err()
}

type decoder struct{ problems Problems }

// path is where the decoder stands; it becomes text only when something is
// wrong, for a lexicon has a million elements.
type path struct {
	parent *path
	name   string
	index  int
}

func (p *path) String() string {
	if p == nil {
		return ""
	}
	if p.name != "" {
		return joinField(p.parent.String(), p.name)
	}
	return fmt.Sprintf("%s[%d]", p.parent.String(), p.index)
}

func (d *decoder) fault(n *yaml.Node, at *path, format string, args ...any) {
	d.problems = append(d.problems, Fault(n, at.String(), format, args...))
}

var (
	nodeType     = reflect.TypeFor[yaml.Node]()
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

func (d *decoder) value(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind == yaml.AliasNode {
		d.fault(n, at, "aliases are not supported: write the value of *%s out", n.Value)
		return
	}
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(*n))
		return
	}
	if v.Kind() == reflect.Pointer {
		if isNull(n) {
			return
		}
		if v.Type().Elem() == nodeType {
			v.Set(reflect.ValueOf(n))
			return
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), at)
		return
	}
	if isNull(n) {
		return
	}
	if d.custom(n, v, at) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, at)
	case reflect.Map:
		d.mapping(n, v, at)
	case reflect.Slice:
		d.list(n, v, at)
	case reflect.Interface:
		var any any
		if err := n.Decode(&any); err != nil {
			d.problems = append(d.problems, Within(at.String(), n, err)...)
		} else if any != nil {
			v.Set(reflect.ValueOf(any))
		}
	default:
		d.scalar(n, v, at)
	}
}

// custom handles the types that read themselves.
func (d *decoder) custom(n *yaml.Node, v reflect.Value, at *path) bool {
	if v.Type() == timeType {
		if err := n.Decode(v.Addr().Interface()); err != nil {
			d.fault(n, at, "want a date or time such as 2026-01-31T12:00:00Z, got %s", describe(n))
		}
		return true
	}
	if !v.CanAddr() {
		return false
	}
	switch u := v.Addr().Interface().(type) {
	case yaml.Unmarshaler:
		if err := u.UnmarshalYAML(n); err != nil {
			d.problems = append(d.problems, Within(at.String(), n, err)...)
		}
	case encoding.TextUnmarshaler:
		if n.Kind != yaml.ScalarNode {
			d.fault(n, at, "want one value, got %s", describe(n))
		} else if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			d.problems = append(d.problems, Within(at.String(), n, err)...)
		}
	default:
		return false
	}
	return true
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, at, "want a mapping, got %s", describe(n))
		return
	}
	fields := map[string]reflect.Value{}
	collectFields(v, fields)
	d.eachKey(n, at, func(key, val *yaml.Node, sub *path) {
		f, ok := fields[key.Value]
		if !ok {
			d.problems = append(d.problems, unknownField(key, sub.String(), fields))
			return
		}
		d.value(val, f, sub)
	})
}

// eachKey walks a mapping and refuses what no mapping of ours may have.
func (d *decoder) eachKey(n *yaml.Node, at *path, f func(key, val *yaml.Node, sub *path)) {
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.fault(key, at, "a key must be plain text, got %s", describe(key))
			continue
		}
		sub := &path{parent: at, name: key.Value}
		if key.ShortTag() == "!!merge" {
			d.fault(key, at, "merge keys (<<) are not supported: write the fields out")
			continue
		}
		if line, twice := lines[key.Value]; twice {
			d.fault(key, sub, "given twice (first on line %d)", line)
			continue
		}
		lines[key.Value] = key.Line
		f(key, val, sub)
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, at, "want a mapping, got %s", describe(n))
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		panic(fmt.Sprintf("policy: Decode into a map with keys of type %s", t.Key()))
	}
	m := reflect.MakeMapWithSize(t, len(n.Content)/2)
	d.eachKey(n, at, func(key, val *yaml.Node, sub *path) {
		e := reflect.New(t.Elem()).Elem()
		d.value(val, e, sub)
		m.SetMapIndex(reflect.ValueOf(key.Value).Convert(t.Key()), e)
	})
	v.Set(m)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, at, "want a list, got %s", describe(n))
		return
	}
	s := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		if isNull(c) {
			d.fault(c, &path{parent: at, index: i}, "is empty")
			continue
		}
		d.value(c, s.Index(i), &path{parent: at, index: i})
	}
	v.Set(s)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, at *path) {
	var want string
	var tags []string
	switch v.Kind() {
	case reflect.String:
		want, tags = "text", []string{"!!str"}
	case reflect.Bool:
		want, tags = "true or false", []string{"!!bool"}
	case reflect.Float32, reflect.Float64:
		want, tags = "a number", []string{"!!float", "!!int"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		want, tags = "a whole number", []string{"!!int"}
		if v.Type() == durationType {
			want, tags = "a duration such as 90s, 12h or 183d", []string{"!!str"}
		}
	default:
		panic(fmt.Sprintf("policy: Decode into a field of type %s", v.Type()))
	}
	if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()) {
		hint := ""
		if v.Kind() == reflect.String && n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf(": quote it (%q)", n.Value)
		}
		d.fault(n, at, "want %s, got %s%s", want, describe(n), hint)
		return
	}
	if v.Type() == durationType {
		length, err := ParseDuration(n.Value)
		if err != nil {
			d.fault(n, at, "%v", err)
			return
		}
		v.SetInt(int64(length))
		return
	}
	if v.Kind() == reflect.String {
		v.SetString(n.Value)
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.fault(n, at, "%s does not fit: want %s of type %s", n.Value, want, v.Type())
	}
}

// collectFields maps the names a mapping may use to the fields they fill.
func collectFields(v reflect.Value, into map[string]reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		inline := slices.Contains(strings.Split(options, ","), "inline")
		if name == "-" || !f.IsExported() && !(f.Anonymous && inline) {
			continue
		}
		if inline {
			collectFields(v.Field(i), into)
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		into[name] = v.Field(i)
	}
}

func unknownField[T any](key *yaml.Node, field string, fields map[string]T) Problem {
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	p := Fault(key, field, "unknown field%s", suggest(key.Value, known))
	p.unknown, p.known = key.Value, known
	return p
}

// alsoKnown adds names to what an unknown field could have meant.
func (p *Problem) alsoKnown(names []string) {
	if p.unknown == "" {
		return
	}
	p.known = append(slices.Clone(p.known), names...)
	slices.Sort(p.known)
	p.Message = "unknown field" + suggest(p.unknown, slices.Compact(p.known))
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe says what a node is, for a person.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	text := n.Value
	if r := []rune(text); len(r) > 40 {
		text = string(r[:40]) + "…"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + text
	case "!!bool":
		return "the truth value " + text
	case "!!timestamp":
		return "the date " + text
	}
	return fmt.Sprintf("the text %q", text)
}
