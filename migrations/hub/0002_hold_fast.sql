-- What holding fast takes, each part under its own heading.

