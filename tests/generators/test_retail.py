"""The generator `retail`: two layouts of one history."""

from keyfold.generators.retail import Retail


def test_the_chain_has_two_layouts_of_one_history(embedded):
    chain = Retail(generator="retail", rows=5_000, days=50, rich_days=10, seed=3)
    thin, rich = (chain.layout(embedded, name).to_arrow().to_pandas() for name in ("thin", "rich"))
    assert len(thin) + len(rich) == 5_000
    assert thin.day.max() < rich.day.min()
    assert set(thin.payment_code) == {"C", "D", "K"} and "card_type" not in thin
    assert "payment_code" not in rich and rich.card_type.nunique() == 5
    assert rich.bought_again.isna().sum() == (rich.day == rich.day.max()).sum() and thin.bought_again.notna().all()
