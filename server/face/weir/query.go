package weir

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/weir-gateway/weir/server/face"
)

// A binding is one way to a method over REST, by its google.api.http.
type binding struct {
	verb  string
	path  *regexp.Regexp
	input protoreflect.MessageDescriptor
	// bound are the fields that stand in the path or are the body; "*" among them
	// is all.
	bound []string
}

// bindings are those of all methods of a server.
func bindings(calls *grpc.Server) (all []binding, err error) {
	for name := range calls.GetServiceInfo() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return nil, err
		}
		methods := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			rule, ok := proto.GetExtension(methods.Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
			if !ok || rule == nil {
				continue
			}
			for _, r := range append([]*annotations.HttpRule{rule}, rule.AdditionalBindings...) {
				all = append(all, newBinding(r, methods.Get(i).Input()))
			}
		}
	}
	return all, nil
}

var (
	variable = regexp.MustCompile(`\{([^=}]+)(?:=([^}]+))?\}`)
	wildcard = strings.NewReplacer(`\*\*`, `.+`, `\*`, `[^/]+`)
)

func newBinding(r *annotations.HttpRule, input protoreflect.MessageDescriptor) binding {
	b := binding{input: input}
	template := ""
	switch p := r.Pattern.(type) {
	case *annotations.HttpRule_Get:
		b.verb, template = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		b.verb, template = http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		b.verb, template = http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		b.verb, template = http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		b.verb, template = http.MethodDelete, p.Delete
	}
	for _, v := range variable.FindAllStringSubmatch(template, -1) {
		b.bound = append(b.bound, v[1])
	}
	if r.Body != "" {
		b.bound = append(b.bound, r.Body)
	}
	segments := variable.ReplaceAllStringFunc(template, func(v string) string {
		if parts := variable.FindStringSubmatch(v); parts[2] != "" {
			return parts[2]
		}
		return "*"
	})
	b.path = regexp.MustCompile("^" + wildcard.Replace(regexp.QuoteMeta(segments)) + "$")
	return b
}

// why tells what is wrong with the name of a parameter. It is empty where
// nothing is.
func (b binding) why(name string) string {
	if slices.Contains(b.bound, "*") {
		return "this method takes its fields in the body, and none in the query"
	}
	in, full := b.input, []string{}
	for part := range strings.SplitSeq(name, ".") {
		if in == nil {
			return fmt.Sprintf("%s has no fields", strings.Join(full, "."))
		}
		field := in.Fields().ByJSONName(part)
		if field == nil {
			field = in.Fields().ByName(protoreflect.Name(part))
		}
		if field == nil {
			return fmt.Sprintf("there is no such field; the fields of %s are %s", in.Name(), strings.Join(fieldsOf(in), ", "))
		}
		full, in = append(full, string(field.Name())), field.Message()
		if slices.Contains(b.bound, strings.Join(full, ".")) {
			return "it stands in the path or is the body: leave it out of the query"
		}
	}
	return ""
}

func fieldsOf(m protoreflect.MessageDescriptor) (names []string) {
	for i := range m.Fields().Len() {
		names = append(names, m.Fields().Get(i).JSONName())
	}
	return names
}

// unheard tells which parameters of a query no method at a path takes. It is nil
// where there are none, and where there is no such method, which is told
// otherwise.
func unheard(all []binding, verb string, u *url.URL) error {
	query := u.Query()
	if len(query) == 0 {
		return nil
	}
	fields := &face.FieldsError{}
	for _, b := range all {
		if b.verb != verb || !b.path.MatchString(u.Path) {
			continue
		}
		fields = &face.FieldsError{}
		for name := range query {
			if why := b.why(name); why != "" {
				fields.Fields = append(fields.Fields, face.Field{Path: name, Description: why})
			}
		}
		if len(fields.Fields) == 0 {
			return nil
		}
	}
	if len(fields.Fields) == 0 {
		return nil
	}
	slices.SortFunc(fields.Fields, func(a, b face.Field) int { return strings.Compare(a.Path, b.Path) })
	return fields
}

// refuse answers with an error as REST tells those of calls.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	id := face.TrailOf(r.Context()).RequestID
	f := face.Explain(err, id)
	told, err := protojson.Marshal(f.Status(id).Proto())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.HTTP)
	_, _ = w.Write(told) // a client that has gone learns nothing
}
