// Copyright 2026 The freshbearer authors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

package caddytest_test

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// screenshots makes the browser tests write a picture of every page:
//
//	go test ./caddytest -run TestBrowser -screenshots
var screenshots = flag.Bool("screenshots", false, "write pictures of the pages to docs/screenshots")

var screenshotDir = filepath.Join("..", "docs", "screenshots")

// mostColours is what a page of text is still good to look at with: its
// surfaces, and beyond them none that is nearer to another than leastApart.
const (
	mostColours = 32
	surfaces    = 8
	leastApart  = 24
)

// shrink makes the pictures of a page small, if there are new ones.
func shrink(t *testing.T, page string) {
	t.Helper()
	if !*screenshots {
		return
	}
	for _, look := range []string{"light-1280", "light-390", "dark-1280", "dark-390"} {
		shrinkOne(t, filepath.Join(screenshotDir, page+"-"+look+".png"))
	}
}

// shrinkOne leaves a picture its most frequent colours, in a palette. Those of
// a few letters are among them: there are no others like them.
func shrinkOne(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	rgba := image.NewRGBA(picture.Bounds())
	draw.Draw(rgba, rgba.Rect, picture, rgba.Rect.Min, draw.Src)
	count := make(map[color.RGBA]int)
	for i := 0; i < len(rgba.Pix); i += 4 {
		count[color.RGBA{rgba.Pix[i], rgba.Pix[i+1], rgba.Pix[i+2], rgba.Pix[i+3]}]++
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return cmp.Compare(count[b], count[a]) })
	var palette color.Palette
	for _, c := range colours {
		if len(palette) < surfaces || len(palette) < mostColours && !slices.ContainsFunc(palette, func(p color.Color) bool { return near(c, p.(color.RGBA)) }) {
			palette = append(palette, c)
		}
	}
	small := image.NewPaletted(rgba.Rect, palette)
	nearest := make(map[color.RGBA]uint8)
	for i := range small.Pix {
		c := color.RGBA{rgba.Pix[4*i], rgba.Pix[4*i+1], rgba.Pix[4*i+2], rgba.Pix[4*i+3]}
		at, ok := nearest[c]
		if !ok {
			at = uint8(palette.Index(c))
			nearest[c] = at
		}
		small.Pix[i] = at
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func near(a, b color.RGBA) bool {
	square := func(x, y uint8) int { return (int(x) - int(y)) * (int(x) - int(y)) }
	return square(a.R, b.R)+square(a.G, b.G)+square(a.B, b.B) < leastApart*leastApart
}
