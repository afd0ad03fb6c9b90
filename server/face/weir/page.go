package weir

import (
	"encoding/base64"
	"encoding/json"

	"github.com/weir-gateway/weir/server/face"
)

// defaultPage is how many things a page has where the caller does not say, and
// mostPage how many it has at most. Things that hold much text are textPage a
// page.
const (
	defaultPage = 100
	mostPage    = 1000
	textPage    = 100
)

// pageSize is how many things a page has: what the caller says, usual where it
// does not, and no more than most, which AIP-158 wants more to be taken for.
func pageSize(said int32, usual, most int) int {
	if said == 0 {
		return usual
	}
	return min(int(said), most)
}

// page is one page of a list that its things' names, or the like, have an order
// in.
type page struct {
	list  string
	size  int
	after []string // the place of the last thing of the page before, all empty on the first
}

// cursor is what a page token says.
type cursor struct {
	List  string   `json:"list"`
	After []string `json:"after"`
}

// openPage reads which page of a list is wanted. A token is of the list that
// gave it alone; n is how many texts make a place in it, and a page has most
// things at most.
func openPage(list string, req interface {
	GetPageSize() int32
	GetPageToken() string
}, n, most int) (page, error) {
	p := page{list: list, size: pageSize(req.GetPageSize(), defaultPage, most), after: make([]string, n)}
	if req.GetPageToken() == "" {
		return p, nil
	}
	var c cursor
	text, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.List != list || len(c.After) != n {
		return p, face.Invalid("page_token", "it is not of this list: send next_page_token of the page before, with all other fields the same")
	}
	p.after = c.After
	return p, nil
}

// token is that of the page behind a place.
func (p page) token(after ...string) (string, error) {
	text, err := json.Marshal(cursor{p.list, after})
	return base64.RawURLEncoding.EncodeToString(text), err
}

// pageOf takes a page out of a list that is sorted by name, and returns the
// token of the next.
func pageOf[T any](p page, all []T, name func(T) string) ([]T, string, error) {
	begin := 0
	for begin < len(all) && name(all[begin]) <= p.after[0] {
		begin++
	}
	all = all[begin:]
	if len(all) <= p.size {
		return all, "", nil
	}
	token, err := p.token(name(all[p.size-1]))
	return all[:p.size], token, err
}
