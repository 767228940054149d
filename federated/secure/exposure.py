"""Who could see what under each way to sum, in sentences that a Run keeps and a report prints.

Where parties were simulated in one process, what is said of them is what the messages would show were they apart.
What the Run's own files tell is said beside it (tests hold these sentences against the files).
"""

from medimg.errors import InputError

_TOGETHER = (
    "All parties were simulated in one process, which had every client's rows, updates and "
    "keys, so nothing was kept from whoever ran it. The messages are those of a network; what is "
    "said here of parties holds where each has a machine of its own.",
)
_IN_THE_FILES = (
    "Summed securely are the update, with its weight, and before the first round what is said to "
    "be in masked sums; nothing else. Whoever coordinates, and "
    "whoever has the Run, knows each client's number of examples (audit.jsonl, rounds.csv), and "
    "of each round who took part, bytes and seconds, and the client's training loss and accuracy.",
)
_IN_PRIVATE_FILES = (
    "Summed securely is the update, and nothing else. Whoever has the Run knows of each round who "
    "took part and bytes; numbers of examples, seconds and the client's training loss and accuracy "
    "are not in it.",
)
_ONCE = (
    "A client answers a round once. Asked for it again, as after a resume, it agrees to the sum of "
    "the same clients or to none, since two sums over different clients differ by single vectors. "
    "Sums of different rounds are not kept apart in this way.",
)
_EVERYWHERE = (
    "Whoever is sent the model of every round, as each client is, can tell the sum of each round "
    "from how the model moved. What a sum or a model gives away about patients is not hidden by "
    "summing securely; differential privacy bounds that.",
    "With n clients in a round, n - 1 that act together subtract their own vectors from the sum "
    "and have the last one's; of two clients, each has the other's.",
)
_SENTENCES = {
    "none": (
        "The server sees every client's update of every round, and could try to reconstruct images from it.",
        "A client sees its own update and the model.",
    ),
    "masking": (
        "The server is sent masked vectors, each alone indistinguishable from random numbers, and "
        "obtains their sum; it also sees who took part, who dropped out, and sizes and times of "
        "messages.",
        "A client sees its own vector, the model, and encrypted or meaningless shares of the others' secrets.",
        "Fewer clients than the threshold, even with the server's help, learn nothing of "
        "another's vector but through the sum. From the threshold on, clients that act together "
        "with the server can unmask any one vector.",
        "A server that shows clients different lists gets no sum: they sign the list first. "
        "With a strict majority as threshold this holds while clients are honest; against "
        "clients in league with the server more than two thirds are needed (Bonawitz et al. "
        "2017, section 6.2).",
        *_IN_THE_FILES,
        *_ONCE,
        "Nobody can look into a masked vector, so a client may send a false one: only its "
        "shape, its signature and its round are checked. That is why robust rules and secure "
        "sums exclude each other.",
        "The signing keys must be handed over beforehand; a server that could choose them could "
        "pose as clients. In a simulation one process makes all of them: there a signature proves "
        "nothing.",
    ),
    "ckks": (
        "The server is sent ciphertexts and, after a client decrypted it, the sum; it has no "
        "secret key. It also sees who took part, and sizes and times of messages.",
        "All clients share one secret key: a client that obtains another's ciphertext, from the "
        "server or from the wire, can read that client's update. One client in league with the "
        "server is enough.",
        "A client decrypts the sum of a list of clients that a majority has signed, and nothing "
        "else: ciphertexts hold tags by a key that the server lacks, and no other combination of "
        "them has tags that fit (but by a guess among 2^78). That something was refused is all that a "
        "server that deviates is told. Which client decrypts is its choice, and that client's "
        "word is the sum.",
        *_ONCE,
        "Sums leave a client rounded to a public grid, without the decryption's noise, since "
        "that noise would betray the key (Li and Micciancio 2021).",
        *_IN_THE_FILES,
        "A false vector can't be recognised: only its shape, its signature and its round are "
        "checked. In a simulation one process makes all signing keys: there a signature proves "
        "nothing.",
    ),
}
KINDS = tuple(_SENTENCES)


def who_could_see(kind: str, apart: bool = False, private: bool = False) -> list[str]:
    """Plain sentences on what each party can learn.

    Args:
        kind: none, masking or ckks.
        apart: the clients were at sites of their own.
        private: with differential privacy, whose Runs tell less.

    Raises:
        InputError: another kind.
    """
    if kind not in _SENTENCES:
        raise InputError(f"--secure {kind}: choose from {', '.join(KINDS)}")
    sentences = [*(() if apart else _TOGETHER), *_SENTENCES[kind], *_EVERYWHERE]
    other = dict(zip(_IN_THE_FILES, _IN_PRIVATE_FILES, strict=True)) if private else {}
    return [other.get(sentence, sentence) for sentence in sentences]
