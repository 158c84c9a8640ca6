"""How is it shown? One function per figure: tidy table and axes in, axes out."""
