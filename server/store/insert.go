package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// insertLines writes the lines that are not there yet, and returns their
// entries.
func (s *Store) insertLines(ctx context.Context, tx *sql.Tx, entries []ledger.Entry) (fresh []*ledger.Entry, err error) {
	values, err := values(entries)
	if err != nil {
		return nil, err
	}
	if s.engine.Arrays {
		return insertArrays(ctx, tx, entries, values)
	}
	return insertEach(ctx, tx, entries, values)
}

// values are those of the columns written, line by line.
func values(entries []ledger.Entry) (list []any, err error) {
	list = make([]any, 0, len(entries)*len(written))
	quoted := map[string][]byte{}
	for i := range entries {
		e := &entries[i]
		if list, err = appendLine(list, &e.Line); err != nil {
			return nil, err
		}
		fed, err := allocations(e, quoted)
		if err != nil {
			return nil, err
		}
		list = append(list, fed)
	}
	return list, nil
}

// allocations is what an entry feeds of its windows, as JSON by their ids. It is
// in the line's own row: a row for each window would be most of the work. Quoted
// are ids as JSON has them, since most entries feed the same windows.
func allocations(e *ledger.Entry, quoted map[string][]byte) (string, error) {
	if !e.Line.Outcome.Charged() {
		return "{}", nil
	}
	var memory [512]byte
	text := append(memory[:0], '{')
	for i := range e.Settled {
		id := e.Settled[i].Window.ID
		if slices.ContainsFunc(e.Settled[:i], func(s ledger.Settled) bool { return s.Window.ID == id }) {
			return "", fmt.Errorf("line of call %s feeds window %s twice", e.Line.RequestID, id)
		}
		if quoted[id] == nil {
			quote, err := json.Marshal(id)
			if err != nil {
				return "", err
			}
			quoted[id] = quote
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(append(append(text, quoted[id]...), ':'), e.Settled[i].Amount, 10)
	}
	return string(append(text, '}')), nil
}

// written are the columns of a line, in the order of its values.
var written = strings.FieldsFunc(lineColumns+`, allocations`, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })

var insertInto = `INSERT INTO lines (` + strings.Join(written, ", ") + `) `

// typeOf is the type of a column of lines in an engine that has arrays.
func typeOf(column string) string {
	switch column {
	case "labels":
		return "JSONB"
	case "allocations":
		return "JSON"
	case "attempt", "line", "started", "deadline", "ended", "provider_nanos", "charge_nanos":
		return "BIGINT"
	}
	if _, err := accounting.ParseMeter(column); err == nil {
		return "BIGINT"
	}
	return "TEXT"
}

// insertEach runs one statement a line, which the engine reads once: nothing is
// lost by that where it is in this process. Its marks have no numbers, since
// SQLite looks each of those up by its name.
func insertEach(ctx context.Context, tx *sql.Tx, entries []ledger.Entry, values []any) (fresh []*ledger.Entry, err error) {
	width := len(written)
	marks := strings.TrimSuffix(strings.Repeat("?, ", width), ", ")
	insert, err := tx.PrepareContext(ctx, insertInto+`VALUES (`+marks+`) ON CONFLICT DO NOTHING`)
	if err != nil {
		return nil, err
	}
	defer insert.Close()
	for i := range entries {
		r, err := insert.ExecContext(ctx, values[i*width:][:width]...)
		if err != nil {
			return nil, err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return nil, err
		}
		if n == 1 {
			fresh = append(fresh, &entries[i])
		}
	}
	return fresh, nil
}

// insertArrays runs one statement for all lines, to which each column goes as
// an array.
func insertArrays(ctx context.Context, tx *sql.Tx, entries []ledger.Entry, values []any) (fresh []*ledger.Entry, err error) {
	type key struct {
		request       string
		attempt, line int
	}
	byKey := make(map[key]*ledger.Entry, len(entries))
	for i := range entries {
		e := &entries[i]
		k := key{e.Line.RequestID, e.Line.Attempt.Number, e.Line.Number}
		if byKey[k] == nil { // of two in one batch the first is written
			byKey[k] = e
		}
	}
	args := make([]any, len(written))
	for j, column := range written {
		if typeOf(column) == "BIGINT" {
			args[j] = array[int64](values, j)
		} else {
			args[j] = array[string](values, j)
		}
	}
	err = rows(ctx, tx, insertArraysQuery, args, func(r *sql.Rows) error {
		var k key
		if err := r.Scan(&k.request, &k.attempt, &k.line); err != nil {
			return err
		}
		fresh = append(fresh, byKey[k])
		return nil
	})
	return fresh, err
}

// array is column j of rows of values. Only where some are NULL it is one of
// pointers, which take longer to encode.
func array[T any](values []any, j int) any {
	width := len(written)
	list := make([]T, len(values)/width)
	var nullable []*T
	for i := range list {
		v, known := values[i*width+j].(T)
		if list[i] = v; !known && nullable == nil {
			nullable = make([]*T, len(list))
		}
	}
	if nullable == nil {
		return list
	}
	for i := range list {
		if values[i*width+j] != nil {
			nullable[i] = &list[i]
		}
	}
	return nullable
}

// insertArraysQuery names the columns, so that a database that a newer Weir has
// given more of them takes it too.
var insertArraysQuery = func() string {
	var values, arrays []string
	for i, column := range written {
		value, element := column, typeOf(column)
		if element == "JSON" || element == "JSONB" {
			value, element = fmt.Sprintf("CAST(%s AS %s)", column, element), "TEXT"
		}
		values, arrays = append(values, value), append(arrays, fmt.Sprintf("CAST($%d AS %s[])", i+1, element))
	}
	return insertInto + `SELECT ` + strings.Join(values, ", ") + ` FROM unnest(` + strings.Join(arrays, ", ") + `) AS l (` + strings.Join(written, ", ") + `)
		ON CONFLICT DO NOTHING RETURNING request_id, attempt, line`
}()
