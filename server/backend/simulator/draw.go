package simulator

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"github.com/weir-gateway/weir/server/backend"
)

// drawTokens is what an image of an answer counts as output, whatever is in it.
const drawTokens = 256

// The sides of an image, in pixels: where nothing is said, and at the most.
const (
	drawSide    = 64
	maxDrawSide = 2048
)

// drawing is an image that an answer is to have.
type drawing struct{ width, height int }

// readDrawing reads WIDTHxHEIGHT; anything else is of the usual size.
func readDrawing(words string) *drawing {
	var d drawing
	if n, err := fmt.Sscanf(words, "%dx%d", &d.width, &d.height); err != nil || n < 2 ||
		d.width < 1 || d.height < 1 || d.width > maxDrawSide || d.height > maxDrawSide {
		return &drawing{drawSide, drawSide}
	}
	return &d
}

// draw paints a mosaic of chance: a pattern of 8 by 8 fields of 4 colours, the left
// half of which mirrors the right one. The same chance gives the same bytes.
func (d *drawing) draw(c *chance) *backend.Media {
	palette := make(color.Palette, 4)
	for i := range palette {
		n := c.next()
		palette[i] = color.NRGBA{R: uint8(n), G: uint8(n >> 8), B: uint8(n >> 16), A: 255}
	}
	const fields = 8
	var field [fields][fields]uint8
	for y := range field {
		for x := range fields / 2 {
			field[y][x] = uint8(c.below(len(palette)))
			field[y][fields-1-x] = field[y][x]
		}
	}
	img := image.NewPaletted(image.Rect(0, 0, d.width, d.height), palette)
	for y := range d.height {
		for x := range d.width {
			img.SetColorIndex(x, y, field[y*fields/d.height][x*fields/d.width])
		}
	}
	var out bytes.Buffer
	_ = png.Encode(&out, img) // a buffer takes all, and PNG has images of this size
	return &backend.Media{Modality: backend.Image, Type: "image/png", Data: out.Bytes()}
}
