package main

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// export is what `peabiru ledger export` wrote: content by path. It is the tile reader that tlog asks.
type export map[string][]byte

func readExport(folder string) (export, error) {
	files := export{}
	err := filepath.WalkDir(folder, func(path string, item fs.DirEntry, err error) error {
		if err != nil || item.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	return files, err
}

// Height says that a tile has 2⁸ hashes.
func (files export) Height() int { return 8 }

// ReadTiles leaves the height out of Go's path: C2SP has only one.
func (files export) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var contents [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		content, there := files[path]
		if !there {
			return nil, fmt.Errorf("%s is missing", path)
		}
		contents = append(contents, content)
	}
	return contents, nil
}

// SaveTiles is told which tiles hold.
func (files export) SaveTiles([]tlog.Tile, [][]byte) {}

// verify checks the checkpoint, then that each entry of the bundles has its place in the tree that it signs.
func (files export) verify(origin string, keys note.Verifiers) (tlog.Tree, error) {
	signedBy, tree, err := openCheckpoint(files["checkpoint"], keys)
	if err != nil {
		return tree, err
	}
	if signedBy != origin {
		return tree, fmt.Errorf("checkpoint: it is of %s", signedBy)
	}
	reader := tlog.TileHashReader(tree, files)
	entries, err := files.entries(tree.N)
	if err != nil {
		return tree, err
	}
	for index, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		if err != nil {
			return tree, fmt.Errorf("entry %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(entry)); err != nil {
			return tree, fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return tree, nil
}

// entries reads the bundles: each entry after its length in two bytes.
func (files export) entries(size int64) ([][]byte, error) {
	var entries [][]byte
	for number := int64(0); number<<8 < size; number++ {
		width := size - number<<8
		if width > 1<<8 {
			width = 1 << 8
		}
		// The level -1 is Go's for entries, under a name of its own.
		path := tlog.Tile{H: 8, L: -1, N: number, W: int(width)}.Path()
		path = strings.Replace(path, "tile/8/data/", "tile/entries/", 1)
		rest, there := files[path]
		if !there {
			return nil, fmt.Errorf("%s is missing", path)
		}
		for ; width > 0; width-- {
			if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
				return nil, fmt.Errorf("%s ends early", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(rest))
			entries, rest = append(entries, rest[2:end]), rest[end:]
		}
		if len(rest) > 0 {
			return nil, fmt.Errorf("%s has %d bytes too many", path, len(rest))
		}
	}
	return entries, nil
}

// extends checks that the tree began as the older one.
func (files export) extends(old, new tlog.Tree) error {
	if old.N >= new.N {
		return fmt.Errorf("the ledger did not grow from %d to %d entries", old.N, new.N)
	}
	proof, err := tlog.ProveTree(new.N, old.N, tlog.TileHashReader(new, files))
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, new.N, new.Hash, old.N, old.Hash)
}

// refuseFork counts the changes of a consistency proof and of the older head, all of which must be refused.
func (files export) refuseFork(old, new tlog.Tree) int {
	proof, err := tlog.ProveTree(new.N, old.N, tlog.TileHashReader(new, files))
	check(err)
	refused := 0
	for index := range proof {
		forged := append(tlog.TreeProof(nil), proof...)
		forged[index][refused%tlog.HashSize] ^= 1
		if tlog.CheckTree(forged, new.N, new.Hash, old.N, old.Hash) == nil {
			fail(fmt.Sprintf("a consistency proof with a changed hash %d was accepted", index))
		}
		refused++
	}
	fork := old.Hash
	fork[0] ^= 1
	if tlog.CheckTree(proof, new.N, new.Hash, old.N, fork) == nil {
		fail("a forked head was accepted")
	}
	return refused + 1
}

// refuseChanged changes one byte of each file in turn, at several places (of the checkpoint: every byte), and counts
// the changes, all of which must be refused.
func (files export) refuseChanged(origin string, keys note.Verifiers) int {
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	refused := 0
	for _, path := range paths {
		content := files[path]
		places := []int{0, 1, len(content) / 3, len(content) / 2, len(content) - 2, len(content) - 1}
		if path == "checkpoint" {
			places = nil
			for at := range content {
				if !spare(content, at) {
					places = append(places, at)
				}
			}
		}
		for _, at := range places {
			files[path] = flipped(content, at)
			if _, err := files.verify(origin, keys); err == nil {
				fail(fmt.Sprintf("%s with byte %d changed was accepted", path, at))
			}
			refused++
		}
		files[path] = content
	}
	return refused
}
