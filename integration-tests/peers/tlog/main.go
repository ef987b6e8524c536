// Command tlog puts what Peabiru exports before a verifier that others wrote: golang.org/x/mod/sumdb, which checks Go's
// own checksum database. Nothing here verifies; it reads our files, hands them over, and does so again with one byte
// changed, which must be refused.
//
//	tlog KEYS export LEDGER OLD NEW
//	tlog KEYS evidence FILE...
//
// KEYS holds one verifier key per line. OLD and NEW are two exports (C2SP tlog-tiles) of the ledger named LEDGER, the
// second made later. The evidence files hold C2SP tlog-proofs.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) < 4 {
		fail("usage: tlog KEYS export LEDGER OLD NEW, or tlog KEYS evidence FILE...")
	}
	keys, err := readKeys(os.Args[1])
	check(err)
	switch rest := os.Args[3:]; {
	case os.Args[2] == "export" && len(rest) == 3:
		checkExports(keys, rest[0], rest[1], rest[2])
	case os.Args[2] == "evidence":
		checkEvidence(keys, rest)
	default:
		fail("see usage")
	}
}

func checkExports(keys note.Verifiers, origin, oldFolder, newFolder string) {
	old, err := readExport(oldFolder)
	check(err)
	new, err := readExport(newFolder)
	check(err)
	oldTree, err := old.verify(origin, keys)
	check(err)
	newTree, err := new.verify(origin, keys)
	check(err)
	check(new.extends(oldTree, newTree))
	refused := old.refuseChanged(origin, keys) + new.refuseChanged(origin, keys) + new.refuseFork(oldTree, newTree)
	fmt.Printf("%s: sizes %d and %d, every entry proven, the second extends the first; %d changed bytes refused\n",
		origin, oldTree.N, newTree.N, refused)
}

func checkEvidence(keys note.Verifiers, paths []string) {
	proofs, refused := 0, 0
	for _, path := range paths {
		entries, err := readEvidence(path)
		check(err)
		for _, entry := range entries {
			check(entry.verify(keys))
			refused += entry.refuseChanged(keys)
			proofs++
		}
	}
	fmt.Printf("%d tlog-proofs of %d evidence files hold; %d changed bytes refused\n", proofs, len(paths), refused)
}

// readKeys makes verifiers of the keys; NewVerifier checks that each key's id belongs to its name.
func readKeys(path string) (note.Verifiers, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var verifiers []note.Verifier
	for _, key := range strings.Fields(string(text)) {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		verifiers = append(verifiers, verifier)
	}
	return note.VerifierList(verifiers...), nil
}

// openCheckpoint verifies a checkpoint; gives its origin and its tree.
func openCheckpoint(text []byte, keys note.Verifiers) (string, tlog.Tree, error) {
	opened, err := note.Open(text, keys)
	if err != nil {
		return "", tlog.Tree{}, fmt.Errorf("checkpoint: %w", err)
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if len(opened.Sigs) != 1 || opened.Sigs[0].Name != origin {
		return "", tlog.Tree{}, fmt.Errorf("checkpoint: it is signed by another than %s", origin)
	}
	// ParseTree knows the lines of size and root, below the first line of Go's own database.
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + rest))
	return origin, tree, err
}

// flipped gives a copy with one bit of one byte changed.
func flipped(content []byte, at int) []byte {
	changed := append([]byte(nil), content...)
	changed[at] ^= 1
	return changed
}

// spare tells whether the byte is the last digit of a checkpoint's signature: two bits of it stand for nothing, and
// note.Open overlooks them. (Peabiru's own reader refuses them.)
func spare(text []byte, at int) bool {
	return string(text[at+1:]) == "=\n"
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+": "+why)
	os.Exit(1)
}
