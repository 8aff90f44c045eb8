"""Pages and figures for every command: one builder of HTML, one set of figures.

All figures are matplotlib `Figure` objects on an Agg canvas (no pyplot, no global state), in the colours of Okabe and
Ito, which colour-blind readers can tell apart; nothing is said by colour alone. AUs always stand in numerical order
under one label.
"""
